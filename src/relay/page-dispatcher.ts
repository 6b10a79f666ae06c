import type { Connection } from '../connections/connection.ts';
import type { Emitter } from '../events.ts';
import { encodeEvent } from '../log/event-encoding.ts';
import type { Page, Position } from '../log/event-log.ts';
import type { LoggedEvent } from '../log/logged-event.ts';
import { isMembershipChange } from '../log/memberships.ts';
import { pageBytes } from '../log/pages-in-flight.ts';
import type { Snapshot } from '../log/snapshot.ts';
import type { Fanout } from '../pusher/fanout.ts';
import type { CursorTokens } from './cursor-tokens.ts';
import { closes, isDisconnect } from './disconnect.ts';
import type { Membership } from './membership.ts';
import type { LeaderEvents } from './relay-events.ts';

/** Gives the pages of the log to the fan-out, and lets connections go live between windows. */
export class PageDispatcher {
  readonly #deps: PageDispatcherDeps;
  /** READY, and live from the next window on: they have had the rest of this one. */
  #arrivals: Connection[] = [];

  constructor(deps: PageDispatcherDeps) {
    this.#deps = deps;
  }

  /** @returns the bytes that the page holds, and when all of it is settled */
  deliver(page: Page, from: Position): { bytes: number; delivered: Promise<void> } {
    const { fanout, cursors, maxFrameBytes, durable, membership, read } = this.#deps;
    // The start of the window and not its end: see protocol/cursor.ts.
    const cursor = cursors.format(durable(from.snapshot));
    if (!from.backlog) this.#welcome();
    const { bytes, settled } = fanout.dispatch(
      page.events.filter(isMessage).map((event) => ({
        id: event.id,
        audience: membership.audienceOf(event),
        encode: () => encodeEvent(event, cursor, maxFrameBytes),
        ...(isDisconnect(event) && {
          closes: (connection: Connection) => closes(event, connection),
        }),
      })),
      from.snapshot,
    );
    this.#reportImpaired(page);
    if (!page.next.backlog) this.#welcome();
    read();
    return { bytes: bytes + pageBytes(page.events), delivered: settled };
  }

  /** From the next window on the connection is live. */
  arrive(connection: Connection): void {
    const { position, fanout } = this.#deps;
    if (position().backlog) this.#arrivals.push(connection);
    else fanout.goLive(connection);
  }

  /** A window is over: from the next one on arrivals get what is dispatched. */
  #welcome(): void {
    for (const connection of this.#arrivals.splice(0)) this.#deps.fanout.goLive(connection);
  }

  #reportImpaired({ events }: Page): void {
    for (const { id, problem, audience } of events) {
      if (problem === null) continue;
      const sentAs = audience.length === 0 ? 'nobody' : 'key';
      this.#deps.events.emit('impaired', id, problem, sentAs);
    }
  }
}

function isMessage(event: LoggedEvent): boolean {
  return !isMembershipChange(event);
}

export interface PageDispatcherDeps {
  readonly events: Emitter<Pick<LeaderEvents, 'impaired'>>;
  readonly fanout: Fanout;
  readonly cursors: CursorTokens;
  readonly maxFrameBytes: number;
  readonly membership: Pick<Membership, 'audienceOf'>;
  /** Where the log is read to. */
  position(): Position;
  /** The latest place for a client's cursor that is not after `place`. */
  durable(place: Snapshot): Snapshot;
  /** A page was handed to delivery. */
  read(): void;
}
