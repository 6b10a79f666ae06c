import type { Connection } from '../connections/connection.ts';
import type { ConnectionDirectory } from '../connections/connection-directory.ts';
import type { Lag } from '../log/log-lag.ts';
import { termsOf } from '../protocol/audience.ts';
import type { PostOutcome } from '../pusher/gateway.ts';
import type { Relay } from '../relay/relay.ts';
import type { LeaderState, Role } from '../relay/relay-events.ts';
import type { DeliveryJournal, Dispatch } from './delivery-journal.ts';
import type { Readiness } from './health.ts';
import type { Answer } from './http-service.ts';
import type { Problem, RecentProblems } from './recent-problems.ts';

/** Connections that an answer names; of a broadcast to more, counts are enough. */
const NAMED = 100;
const MINUTE_MS = 60_000;

/**
 * Knowledge that only this relay has, for `rowcast status` and `rowcast trace`: `/status`, and
 * `/trace/ID` for an event. It names users and connections, and is therefore served on the loopback
 * interface only.
 */
export class InspectionApi {
  readonly #deps: InspectionDeps;

  constructor(deps: InspectionDeps) {
    this.#deps = deps;
  }

  async answer(path: string): Promise<Answer | null> {
    if (path === '/status') return { status: 200, body: this.status() };
    const eventId = /^\/trace\/(\d{1,19})$/.exec(path)?.[1];
    return eventId ? { status: 200, body: this.trace(eventId) } : null;
  }

  status(): RelayStatus {
    const { relay, directory, journal, problems, readiness, feed } = this.#deps;
    return {
      service: 'rowcast',
      installation: relay.installation,
      pid: process.pid,
      ...readiness(),
      role: relay.role,
      listening: relay.listening,
      term: relay.state,
      lag: relay.lag,
      connections: { known: directory.size, users: directory.users(), feed, asOf: directory.asOf },
      posts: {
        sinceMs: Math.max(journal.sinceMs, Date.now() - MINUTE_MS),
        ...journal.outcomesSince(Date.now() - MINUTE_MS),
      },
      problems: problems.all,
    };
  }

  trace(eventId: string): EventTrace {
    const { relay, journal } = this.#deps;
    const dispatches = journal.dispatchesOf(eventId);
    const deliveries = new Map<Connection, DeliveryTrace>();
    const of = (connection: Connection): DeliveryTrace => {
      const known = deliveries.get(connection) ?? {
        connectionId: connection.connectionId,
        userId: connection.userId,
        connectedAt: connection.connectedAt,
        terms: termsOf(connection),
        attempts: [],
        waiting: false,
      };
      deliveries.set(connection, known);
      return known;
    };
    for (const { connection, atMs, outcome, tookMs, events } of journal.postsOf(eventId))
      of(connection).attempts.push({ atMs, tookMs, events, outcome });
    for (const connection of relay.waitingFor(eventId)) of(connection).waiting = true;
    const all = [...deliveries.values()];
    return {
      service: 'rowcast',
      installation: relay.installation,
      role: relay.role,
      sinceMs: journal.sinceMs,
      dispatches: dispatches.map(({ atMs, reached, connections, joining }) => ({
        atMs,
        reached,
        connections,
        joining,
      })),
      outcomes: countBy(all, (delivery) => delivery.attempts.at(-1)?.outcome.kind ?? 'waiting'),
      // Connections that did not get it come first: the question is about them.
      deliveries: all.toSorted((a, b) => delivered(a) - delivered(b)).slice(0, NAMED),
    };
  }
}

function delivered({ attempts }: DeliveryTrace): number {
  return Number(attempts.at(-1)?.outcome.kind === 'delivered');
}

function countBy<Item>(
  items: readonly Item[],
  key: (item: Item) => string,
): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) counts[key(item)] = (counts[key(item)] ?? 0) + 1;
  return counts;
}

/**
 * So that another program's answer, or that of another database's relay, is not taken for this
 * one's.
 */
export interface Origin {
  readonly service: 'rowcast';
  /** Uuid of the installation; null for a relay that has not led. */
  readonly installation: string | null;
}

/** Times are epoch milliseconds. */
export interface RelayStatus extends Readiness, Origin {
  readonly pid: number;
  readonly role: Role;
  readonly listening: boolean;
  /** Null for a relay that does not lead. */
  readonly term: LeaderState | null;
  /** As measured last, by a leader. */
  readonly lag: Lag | null;
  readonly connections: {
    readonly known: number;
    readonly users: number;
    readonly feed: 'scan' | 'stream';
    /** Everything in the table at that time is known. */
    readonly asOf: number;
  };
  /** Posts of the last minute, or since `sinceMs` where there were too many. */
  readonly posts: { readonly sinceMs: number } & Partial<Record<PostOutcome['kind'], number>>;
  /** The newest last. */
  readonly problems: readonly Problem[];
}

export interface EventTrace extends Origin {
  readonly role: Role;
  /** Anything before is forgotten. */
  readonly sinceMs: number;
  readonly dispatches: readonly Dispatch[];
  /** Connections by what became of the last post to each. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** At most a hundred, those that did not get it first. */
  readonly deliveries: readonly DeliveryTrace[];
}

export interface DeliveryTrace {
  readonly connectionId: string;
  readonly userId: string;
  readonly connectedAt: number;
  /** By which it is reached. */
  readonly terms: readonly string[];
  readonly attempts: {
    readonly atMs: number;
    readonly tookMs: number;
    readonly events: number;
    readonly outcome: PostOutcome;
  }[];
  /** Something waits that is not delivered yet. */
  waiting: boolean;
}

export interface InspectionDeps {
  readonly relay: Relay;
  readonly directory: ConnectionDirectory;
  readonly journal: DeliveryJournal;
  readonly problems: RecentProblems;
  readonly feed: 'scan' | 'stream';
  readiness(): Readiness;
}
