import { ROOM_BY_TABLE, type Stay } from './memberships.ts';

/** The room that some clients join on their open sockets. */
export const ROOM_ON_SOCKET = 'joined';

/** The committed events and those that each client received: chaos compares the two. */
export class Ledger {
  readonly events = new Map<string, CommittedEvent>();
  readonly clients: ReceivingClient[] = [];

  /** The verdict over all clients. */
  judge(): Verdict {
    const verdict: Verdict = {
      due: 0,
      lost: [],
      outOfOrder: [],
      outside: [],
      stale: [],
      duplicates: 0,
    };
    for (const client of this.clients) this.#judgeClient(client, verdict);
    return verdict;
  }

  #judgeClient(client: ReceivingClient, verdict: Verdict): void {
    verdict.duplicates += client.repeats;
    verdict.stale.push(...client.stale.map((key) => `${client.name} ${key}`));
    const highest = new Map<number, number>();
    for (const key of client.received) {
      const event = this.events.get(key);
      // A commit that was never answered may have happened or not.
      if (!event) continue;
      if (!isJudged(client, event)) {
        if (!client.joins || !event.audience.includes(`room:${ROOM_ON_SOCKET}`))
          verdict.outside.push(`${client.name} ${key}`);
        continue;
      }
      if (!isOrdered(client, event)) continue;
      if ((highest.get(event.writer) ?? -1) > event.number)
        verdict.outOfOrder.push(`${client.name} ${key}`);
      highest.set(event.writer, Math.max(event.number, highest.get(event.writer) ?? -1));
    }
    const received = new Set(client.received);
    for (const [key, event] of this.events) {
      const due = event.certain && event.begunAt > client.readyAt && isOrdered(client, event);
      if (!due) continue;
      verdict.due++;
      if (!received.has(key)) verdict.lost.push(`${client.name} ${key}`);
    }
  }
}

const isForMembers = ({ audience }: CommittedEvent) => audience.includes(`room:${ROOM_BY_TABLE}`);

/**
 * The event is for the client by terms that do not change on its open socket. Events of a room that
 * it joins there may come later than others, and may not be due any more.
 */
function isJudged(client: ReceivingClient, event: CommittedEvent): boolean {
  return event.audience.some((term) => client.terms.has(term)) || mayHaveBeenIn(client, event);
}

/** It was in the room at some time at which the event may have been committed. */
function mayHaveBeenIn({ stays }: ReceivingClient, event: CommittedEvent): boolean {
  const overlaps = ({ joinAskedAt, leftAt }: Stay) =>
    joinAskedAt < event.answeredAt && event.askedAt < leftAt;
  return isForMembers(event) && stays.some(overlaps);
}

/**
 * The event is for the client, and was all the time. A client that was out of the room by the table
 * for a while gets some events of before only when it is back, after others.
 */
export function isOrdered(client: ReceivingClient, event: CommittedEvent): boolean {
  return event.audience.some((term) => client.terms.has(term)) || isInSince(client, event);
}

/** It was in the room before the event was written, and has not left it. */
function isInSince({ stays }: ReceivingClient, event: CommittedEvent): boolean {
  const last = stays.at(-1);
  return (
    isForMembers(event) &&
    last !== undefined &&
    last.joinedAt < event.begunAt &&
    last.leaveAskedAt === Infinity
  );
}

export interface CommittedEvent {
  readonly writer: number;
  /** Grows with each transaction of the writer. */
  readonly number: number;
  readonly audience: readonly string[];
  /** Before its transaction began, by performance.now(). */
  readonly begunAt: number;
  /** When its commit was asked for; Infinity before that. */
  askedAt: number;
  /** When that was answered; Infinity where it never was. */
  answeredAt: number;
  /** The id of its transaction. */
  readonly xid: bigint;
  /** The commit was answered. */
  certain: boolean;
}

export interface ReceivingClient {
  readonly name: string;
  readonly terms: ReadonlySet<string>;
  /** Its times in the room that users are in by a table. */
  readonly stays: readonly Stay[];
  /** It joins a room on its open socket, and leaves it. */
  readonly joins: boolean;
  /** Since when it must get everything. */
  readonly readyAt: number;
  /** Keys in the order of their first arrival. */
  readonly received: readonly string[];
  readonly repeats: number;
  /** Keys that were new to it, though its cursor saw their transaction: older than what it had. */
  readonly stale: readonly string[];
}

export interface Verdict {
  due: number;
  readonly lost: string[];
  readonly outOfOrder: string[];
  readonly outside: string[];
  readonly stale: string[];
  duplicates: number;
}
