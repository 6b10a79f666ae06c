/** A fault that is put into the code, and that the simulation has to find. */
export interface Mutant {
  readonly name: string;
  /** Below src/. */
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly find: string;
  readonly replace: string;
  /** Where the hunt begins, for a fault that takes long to be met; 1 without it. */
  readonly fromSeed?: number;
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'the cursor is committed up to what was read, delivered or not',
    file: 'relay/progress.ts',
    find: 'if (this.#deps.isIdle()) this.#settled = readUpTo;',
    replace: 'this.#settled = readUpTo;',
  },
  {
    name: 'a page is settled before the pages before it',
    file: 'log/pages-in-flight.ts',
    find: 'page?.delivered; page = this.#pages[0]',
    replace: 'page; page = this.#pages[0]',
  },
  {
    name: 'a group goes live although the log was read on meanwhile',
    file: 'relay/replay-group.ts',
    find: 'if (isRead && dispatchedUpTo(this.#deps.position()).text === until.text) this.#goLive(until);',
    replace: 'if (isRead && until) this.#goLive(until);',
  },
  {
    name: 'a lagging recipient loses its pin with the next commit',
    file: 'relay/recipient.ts',
    find: '!now.lagging && now.pin?.isWithin(at) ?',
    replace: 'now.pin ?',
  },
  {
    name: 'a connection that is being closed has no pin',
    file: 'relay/recipient.ts',
    find: 'pin: now.served ? (now.pin ?? at) : now.pin,',
    replace: 'pin: now.pin,',
  },
  {
    name: 'a connection that falls behind again forgets its earlier pin',
    file: 'relay/recipient.ts',
    find: 'pin: pinned(now, at),',
    replace: 'pin: at,',
  },
  {
    name: 'a new connection begins where the log is read, not where it connected',
    file: 'relay/replay.ts',
    find: 'return { start: snapshot, fromItsCursor: !forgotten && connectedMs >= refetchBeforeMs };',
    replace: 'return { start: dispatchedUpTo(position()), fromItsCursor: true };',
  },
  {
    name: 'a replay that is not whole is called recovered',
    file: 'relay/replay-group.ts',
    find: 'if (!fromItsCursor || start.xmax < floor) return false;',
    replace: '',
  },
  {
    name: 'a cursor of a client is the end of its window',
    file: 'relay/page-dispatcher.ts',
    find: 'const cursor = cursors.format(durable(from.snapshot));',
    replace: 'const cursor = cursors.format(durable(page.next.snapshot));',
  },
  {
    name: 'a cursor of a client may name what a crash undoes',
    file: 'relay/progress.ts',
    find: 'return this.#durable.isWithin(place) ? this.#durable : place;',
    replace: 'return place;',
  },
  {
    name: 'the socket of an expired connection stays open',
    file: 'relay/recipients.ts',
    find: 'void this.#deps.fanout.close(connection);',
    replace: 'this.#deps.fanout.end(connection);',
  },
  {
    name: 'rows that retention has removed count as delivered',
    file: 'relay/leader-parts.ts',
    find: 'floor: () => this.retention.floor,',
    replace: 'floor: () => 0n,',
  },
  {
    name: 'items that are stored late count as known',
    file: 'relay/takeover-record.ts',
    find: 'const LATE_ITEM_MS = 30_000 + CLOCK_MARGIN_MS;',
    replace: 'const LATE_ITEM_MS = 0 * CLOCK_MARGIN_MS;',
  },
  {
    name: 'a leader takes every connection that it finds for served',
    file: 'relay/inheritance.ts',
    find: 'if (!this.#wasServed(connection)) return this.#joining(connection);',
    replace: '',
  },
  {
    name: 'snapshots are compared by their xmax alone',
    file: 'protocol/snapshot.ts',
    find: '!other.xip.some((xid) => sees(one, xid)) && ',
    replace: '',
  },
  {
    name: 'transactions that were in flight at the start of a window are not read',
    file: 'log/event-log.ts',
    find: '      xids(snapshot),\n',
    replace: '      [],\n',
  },
  {
    name: 'exceptions are not written again when they change',
    file: 'relay/takeover-record.ts',
    find: 'exceptions: isNews ? exceptions.toString() : null,',
    replace: 'exceptions: isNews && pins.length > 3 ? exceptions.toString() : null,',
  },
  {
    name: 'a socket that is still to be opened counts as closed',
    file: 'pusher/socket-closer.ts',
    find: 'return ageMs >= this.#gateway.knownWithinMs;',
    replace: 'return ageMs >= 0;',
  },
  {
    name: 'a frame that failed is left out',
    file: 'pusher/retry-policy.ts',
    find: "return { step: 'retry', afterMs: backoffDelayMs(clock, BACKOFF, lane.failures) };",
    replace: "return { step: 'skip', reason: '' };",
  },
  {
    name: 'frames for a room go to everybody',
    file: 'pusher/audience-index.ts',
    find: 'if (audience.length === 1) return this.#members(audience[0] as string);',
    replace: "if (audience.length === 1) return this.#members('all');",
  },
  {
    name: 'a leader that was frozen goes on as one when it wakes',
    file: 'listener/lease.ts',
    find: 'return !this.session.ended.aborted && this.#clock.uptimeMs() - this.#provedAt < TRUST_MS;',
    replace: 'return true;',
  },
  {
    name: 'READY is sent before it is committed that the connection is served',
    file: 'relay/recipients.ts',
    find: "if (recipient) this.#apply(recipient, 'announced', upTo);",
    replace: '',
    fromSeed: 9000,
  },
  {
    name: 'a connection that was disconnected gets what is committed after that',
    file: 'pusher/fanout.ts',
    find: '      this.#leaveLive(lane);\n      this.#owner?.unservable',
    replace: '      this.#owner?.unservable',
  },
  {
    name: 'the next leader does not know whom this one was about to close',
    file: 'pusher/fanout.ts',
    find: 'this.#owner?.unservable(connection, oldestLive?.windowStart ?? windowStart);',
    replace: '',
  },
  {
    name: 'a call that a replay skips is never looked for',
    file: 'relay/replay-group.ts',
    find: 'await this.#dismissDisconnected(dispatchedUpTo(this.#deps.position()), false);',
    replace: 'this.#hasDismissed = true;',
  },
  {
    name: 'a connection is closed by calls that were before it',
    file: 'relay/disconnect.ts',
    find: 'return sinceMs < Number(timestamp);',
    replace: 'return connectedAt > 0 && timestamp !== null;',
  },
  {
    name: 'a room that is joined begins where the others are',
    file: 'relay/recipients.ts',
    find: 'const isMore = !roomChange || roomChange.gained.size > 0;',
    replace: 'const isMore = !roomChange;',
  },
  {
    name: 'of a room that is joined, what was before is taken for known',
    file: 'relay/room-change.ts',
    find: '!audience.some((term) => change.gained.has(normalTerm(term)))',
    replace: 'audience !== undefined',
  },
  {
    name: 'ROOMS before a READY says more than the client has',
    file: 'relay/replay-group.ts',
    find: 'const place = isReady ? this.#cursorOf(member) : cursor;',
    replace: 'const place = cursor;',
  },
  {
    name: 'a membership as of now decides, and not as of the event',
    file: 'relay/membership.ts',
    find: 'this.#unread.has(room) ? (stay) => covers(stay, event) : isOpen',
    replace: 'isOpen',
  },
  {
    name: 'a membership begins and ends by the order of ids',
    file: 'log/memberships.ts',
    find: 'return change.after?.sees(BigInt(xid)) ?? false;',
    replace: 'return BigInt(id) < change.id;',
  },
  {
    name: 'membership changes on a later page of a window are not known before its first',
    file: 'relay/membership.ts',
    find: '!(page.next.backlog || page.events.some(isMembershipChange))',
    replace: '!page.events.some(isMembershipChange)',
  },
  {
    name: 'who comes back gets of a room by membership what was before it left',
    file: 'relay/replay-audience.ts',
    find: '!member.isReturning || still.has(member)',
    replace: 'member.connection !== null || still.has(member)',
  },
  {
    name: 'at a takeover nobody who is live is in a room by membership',
    file: 'relay/recipients.ts',
    find: 'await membership.load(some);',
    replace: '',
  },
  {
    name: 'a connection whose membership is over goes live before that is read',
    file: 'relay/replay-group.ts',
    find: 'const isRead = this.#audience.isRead();',
    replace: 'const isRead = this.#audience !== null;',
    fromSeed: 3000,
  },
  {
    name: 'presence: a user who has come back leaves when the time of grace is over',
    file: 'presence/room-presence.ts',
    find: '    attendee.leavesAtMs = null;\n    this.#present.set',
    replace: '    this.#present.set',
  },
  {
    name: 'presence: a user whose last connection has ended stays in the room',
    file: 'presence/room-presence.ts',
    find: 'if (leavesAtMs !== null && leavesAtMs <= nowMs) this.#remove(user);',
    replace: '',
  },
  {
    name: 'presence: no relay hears of memberships by tables',
    file: 'presence/presence.ts',
    find: 'if (user) this.#sort(user);',
    replace: '',
  },
  {
    name: 'presence: rows that another relay wrote stay',
    file: 'presence/online-report.ts',
    find: '[...users.keys(), ...(await table.userIds())]',
    replace: 'users.keys()',
  },
];
