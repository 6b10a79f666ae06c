import type { CommittedCursor } from '../log/cursor-store.ts';
import { dispatchedUpTo, type Position } from '../log/event-log.ts';
import { Snapshot } from '../log/snapshot.ts';
import { Exceptions, nameOf } from './exceptions.ts';
import type { Inheritance } from './inheritance.ts';
import { CLOCK_MARGIN_MS, type PositionHistory } from './position-history.ts';
import type { Recipient } from './recipient.ts';

/**
 * `connectedAt` is when the upgrade began, and `$connect` stores the item up to 29 s later. A read
 * of the table surely has a connection only if it was made this long before the read began.
 */
const LATE_ITEM_MS = 30_000 + CLOCK_MARGIN_MS;

/**
 * Names in the cursor's row, some 30 bytes each. The row is written some hundred times a second.
 */
const MAX_NAMES = 500;

/**
 * The part of the cursor's row that tells the next leader of the recipients. By the two rules of
 * recipient.ts it is never ahead of anybody, and waits for nobody while there is room for names.
 */
export class TakeoverRecord {
  readonly #deps: TakeoverRecordDeps;
  readonly #unserved = new Set<Recipient>();
  readonly #pinned = new Set<Recipient>();
  /** Served, and made after `#servedUntilMs`. */
  readonly #young = new Set<Recipient>();
  #servedUntilMs: number;
  /** As recorded last; null once anybody's standing has changed since. */
  #named: Named | null = null;

  constructor(deps: TakeoverRecordDeps) {
    this.#deps = deps;
    // An old directory does not know whom the leader before has served meanwhile.
    this.#servedUntilMs = Math.min(deps.servedUntilMs, deps.knownUntilMs() - LATE_ITEM_MS);
  }

  get pinned(): Iterable<Recipient> {
    return this.#pinned;
  }

  /** To be called whenever the standing of the recipient has changed. */
  note(recipient: Recipient): void {
    const { served, pin } = recipient.standing;
    const isYoung = recipient.connection.connectedAt >= this.#servedUntilMs;
    place(this.#unserved, recipient, !served);
    place(this.#pinned, recipient, pin !== null);
    place(this.#young, recipient, served && isYoung);
    this.#named = null;
  }

  /** @returns whether the cursor may go on where it could not */
  remove(recipient: Recipient): boolean {
    const waitedFor = this.#unserved.has(recipient) || this.#pinned.has(recipient);
    for (const set of [this.#unserved, this.#pinned, this.#young]) set.delete(recipient);
    this.#named = null;
    return waitedFor;
  }

  /** @param settled delivered, in order, to everybody who is live */
  row(settled: Position): CommittedCursor {
    this.#advance();
    const isNews = this.#named === null;
    this.#named ??= this.#name();
    const { exceptions, pins, unnamed, servedUntilMs } = this.#named;
    // The leader before may have known of a change of rooms that an old directory does not show:
    // until the table is read, some may be missing something from the start on.
    const { start, beganMs } = this.#deps.inheritance;
    const unread = this.#deps.knownUntilMs() < beganMs ? [start] : [];
    // Within a window that is read page by page, an unnamed recipient may be missing any page.
    const held = [...unnamed, ...unread].filter((pin) => !dispatchedUpTo(settled).isWithin(pin));
    return {
      position:
        held.length === 0 ? settled : { snapshot: Snapshot.meet([settled.snapshot, ...held]) },
      delivered: Snapshot.meet([settled.snapshot, ...pins, ...unread]),
      exceptions: isNews ? exceptions.toString() : null,
      served: {
        untilMs: servedUntilMs,
        snapshot: this.#deps.history.at(servedUntilMs - CLOCK_MARGIN_MS).snapshot,
      },
    };
  }

  /**
   * Names the recipients of which the cursor alone says something wrong. Past the bound the cursor
   * waits for pins that found no place.
   */
  #name(): Named {
    const exceptions = new Exceptions();
    const pins: Snapshot[] = [];
    const unnamed: Snapshot[] = [];
    let servedUntilMs = this.#servedUntilMs;
    const full = () => exceptions.size >= MAX_NAMES;
    // Unserved ones come first, because nothing else would tell. Past the bound all younger
    // connections are replayed to once more.
    for (const { connection, standing } of this.#unserved) {
      // The next leader has to doubt as well, until READY has said that something may be missing.
      exceptions.more ||= standing.inDoubt;
      if (connection.connectedAt >= this.#servedUntilMs) continue;
      if (full()) servedUntilMs = Math.min(servedUntilMs, connection.connectedAt);
      else exceptions.unserved.add(nameOf(connection));
    }
    for (const { connection, standing } of this.#pinned) {
      const { served, pin } = standing;
      if (!served || !pin) continue;
      pins.push(pin);
      if (full()) unnamed.push(pin);
      else exceptions.pinned.set(nameOf(connection), pin);
    }
    for (const { connection, standing } of this.#young) {
      if (full()) break;
      if (!standing.pin) exceptions.served.add(nameOf(connection));
    }
    const { forgotten } = this.#deps.history.at(servedUntilMs - CLOCK_MARGIN_MS);
    exceptions.more ||= full() || forgotten;
    return { exceptions, pins, unnamed, servedUntilMs };
  }

  /**
   * Moves `served_until` on. Every connection made before it has had its replay and its READY, or
   * is named.
   */
  #advance(): void {
    let untilMs = this.#deps.knownUntilMs() - LATE_ITEM_MS;
    for (const { connection } of this.#unserved)
      untilMs = Math.min(untilMs, connection.connectedAt);
    for (const { connection, standing } of this.#pinned)
      if (!standing.hadReady) untilMs = Math.min(untilMs, connection.connectedAt);
    if (untilMs <= this.#servedUntilMs) return;
    this.#servedUntilMs = untilMs;
    this.#named = null;
    for (const recipient of this.#young)
      if (recipient.connection.connectedAt < untilMs) this.note(recipient);
  }
}

function place<Member>(set: Set<Member>, member: Member, belongs: boolean): void {
  if (belongs) set.add(member);
  else set.delete(member);
}

interface Named {
  readonly exceptions: Exceptions;
  readonly pins: readonly Snapshot[];
  /** Pins past the bound. */
  readonly unnamed: readonly Snapshot[];
  readonly servedUntilMs: number;
}

export interface TakeoverRecordDeps {
  readonly inheritance: Pick<Inheritance, 'start' | 'beganMs'>;
  readonly history: PositionHistory;
  /** As the leader before left it, epoch ms. */
  readonly servedUntilMs: number;
  /** Every connection that was stored before is known, epoch ms. */
  knownUntilMs(): number;
}
