import { type Clock, pause } from '../clock.ts';
import type { Emitter } from '../events.ts';
import type { Doorbell } from '../listener/doorbell.ts';
import type { Wakeup } from '../listener/wakeup.ts';
import type { EventLog, Page, Position } from './event-log.ts';
import type { PagesInFlight } from './pages-in-flight.ts';
import type { Snapshot } from './snapshot.ts';

/**
 * Reads the log while there is something to read, then sleeps until it is rung.
 *
 *     reading ── nothing for stayAwakeMs, lock taken ──▶ one more read ── nothing ──▶ asleep
 *        ▲                                                    │ rows                     │ rung, or slow poll finds rows
 *        └────────────────────────── lock released ◀──────────┴──────────────────────────┘
 *
 * Notifications only shorten the sleep: a slow poll finds everything without them. While nobody
 * listens for them (the LISTEN connection is being made again) the loop does not sleep but polls.
 */
export class DrainLoop {
  readonly #deps: DrainLoopDeps;
  readonly #clock: Clock;
  #position: Position;
  /** Every window that was read since was empty. */
  #quietSince: Snapshot;
  /** Work to be done while nothing is read. */
  readonly #waiting: (() => Promise<void>)[] = [];
  /** Grows while writers keep the doorbell's lock. */
  #pauseMs = 0;
  #addedAt: number;

  constructor(deps: DrainLoopDeps) {
    this.#deps = deps;
    this.#clock = deps.clock;
    this.#addedAt = deps.clock.uptimeMs();
    this.#position = deps.start;
    this.#quietSince = deps.start.snapshot;
  }

  /** How far the log was read and handed to delivery. */
  get position(): Position {
    return this.#position;
  }

  /** There is nothing in the log between the place and where it was read to. */
  isQuietSince(place: Snapshot): boolean {
    return !this.#position.backlog && this.#quietSince.isWithin(place);
  }

  /** It waits for the doorbell. */
  get asleep(): boolean {
    return this.#deps.doorbell?.asleep ?? false;
  }

  /** Runs `work` between two reads. @throws what `work` throws */
  betweenReads<Result>(work: () => Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push(() => work().then(resolve, reject));
      this.#deps.wakeup.ring();
    });
  }

  /**
   * Ends when the signal aborts, with the last page handed over.
   * @throws when the database or the lease is lost
   */
  async run(signal: AbortSignal): Promise<void> {
    const { doorbell, log, inFlight, timing } = this.#deps;
    let lastRowsAt = this.#clock.uptimeMs();
    while (!signal.aborted) {
      await inFlight.room(signal);
      if (signal.aborted) return;
      for (const work of this.#waiting.splice(0)) await work();
      const page = await log.read(this.#position);
      await this.#deps.prepare(page, this.#position);
      this.#handOver(page);
      if (page.events.length > 0 || page.more) {
        lastRowsAt = this.#clock.uptimeMs();
        this.#pauseMs = timing.collectMs;
        await this.#wake();
        if (!page.more) await pause(this.#clock, timing.collectMs, signal);
      } else if (doorbell?.asleep) {
        if (await this.#deps.wakeup.wait(timing.pollIntervalMs, signal)) {
          lastRowsAt = this.#clock.uptimeMs();
          await this.#wake();
        }
      } else if (this.#clock.uptimeMs() - lastRowsAt < timing.stayAwakeMs) {
        await pause(this.#clock, timing.collectMs, signal);
      } else {
        await this.#fallAsleep(signal);
      }
    }
  }

  #handOver(page: Page): void {
    const from = this.#position;
    this.#position = page.next;
    if (from.backlog || page.next.backlog || page.events.length > 0)
      this.#quietSince = page.next.snapshot;
    this.#deps.reached(page.next.snapshot);
    this.#deps.events.emit('read', page.events.length);
    if (
      page.events.length === 0 &&
      this.#clock.uptimeMs() - this.#addedAt < this.#deps.timing.idleCommitIntervalMs
    )
      return;
    this.#addedAt = this.#clock.uptimeMs();
    const { bytes, delivered } = this.#deps.deliver(page, from);
    this.#deps.inFlight.add(page.next, bytes, delivered);
  }

  async #fallAsleep(signal: AbortSignal): Promise<void> {
    const { doorbell, wakeup, timing } = this.#deps;
    if (!doorbell || !this.#deps.canHear()) {
      await wakeup.wait(timing.deafPollIntervalMs, signal);
      return;
    }
    wakeup.clear();
    if (await doorbell.trySleep()) {
      this.#deps.events.emit('asleep');
      return;
    }
    // A writer that stays open for hours must not make an idle relay read a hundred times a second.
    await pause(this.#clock, this.#pauseMs, signal);
    this.#pauseMs = Math.min(timing.deafPollIntervalMs, this.#pauseMs * 1.2 + 1);
  }

  async #wake(): Promise<void> {
    const { doorbell } = this.#deps;
    if (!doorbell?.asleep) return;
    await doorbell.wake();
    this.#deps.events.emit('awake');
  }
}

export interface DrainLoopEvents {
  /** The log was read, with rows or without. */
  read: [rows: number];
  /** Nothing is left; the next row rings. */
  asleep: [];
  awake: [];
}

export interface DrainLoopDeps {
  readonly clock: Clock;
  readonly events: Emitter<DrainLoopEvents>;
  readonly start: Position;
  readonly log: EventLog;
  /** Null with ROWCAST_DOORBELL=off: the relay never says that it sleeps, so nobody ever rings. */
  readonly doorbell: Doorbell | null;
  readonly inFlight: PagesInFlight;
  readonly wakeup: Wakeup;
  readonly timing: DrainTiming;
  /** Whether it would be rung, and would hear it. */
  canHear(): boolean;
  /** The log was read up to the snapshot. */
  reached(snapshot: Snapshot): void;
  /** Learns what has to be known before the page is delivered. @throws when the database is lost */
  prepare(page: Page, from: Position): Promise<void>;
  /** Starts the delivery of a page that begins at `from`. */
  deliver(page: Page, from: Position): { bytes: number; delivered: Promise<void> };
}

export interface DrainTiming {
  /** Between reads while rows keep coming: 10 ms gather the rows of many commits into one read. */
  readonly collectMs: number;
  /**
   * Without rows, before it asks to sleep: going to sleep at once makes every writer ring
   * (measured: nothing gained).
   */
  readonly stayAwakeMs: number;
  /** The slow poll of a sleeping relay, which makes a broken doorbell a matter of latency. */
  readonly pollIntervalMs: number;
  /** The poll of an idle relay that cannot be rung. */
  readonly deafPollIntervalMs: number;
  /**
   * While nothing is to be delivered the cursor is committed this often: the record of served
   * connections is written with it.
   */
  readonly idleCommitIntervalMs: number;
}
