import type { Connection } from '../connections/connection.ts';
import type { CursorStore } from '../log/cursor-store.ts';
import { type InOffice, type LeaderDeps, LeaderParts } from './leader-parts.ts';
import type { LeaderState } from './relay-events.ts';

/** After each of these the log is to be read: what was rung before may not have been heard. */
const RINGING = ['notification', 'listening', 'deaf', 'control'] as const;

/** After each of these the database may be another installation. */
const CONTROLLING = ['listening', 'control'] as const;

/** At a stop, connections that are joining have this long. The next relay replays the rest. */
const JOIN_DEADLINE_MS = 2000;

/** At a stop, what is in flight has this long. The process has 25 s for all (cli/process.ts). */
const DRAIN_DEADLINE_MS = 20_000;

/**
 * One relay's time as the leader, from the cursor that was committed last to the loss of the lease
 * or a clean stop. Its parts and their picture are in leader-parts.ts.
 */
export class Leader {
  readonly #deps: LeaderDeps;
  readonly #cursor: CursorStore;
  readonly #parts: LeaderParts;

  constructor(deps: LeaderDeps, inOffice: InOffice) {
    this.#deps = deps;
    this.#cursor = inOffice.cursor;
    this.#parts = new LeaderParts(deps, inOffice);
  }

  /**
   * Delivers until `stop` aborts. Then no window is opened any more, what is in flight is
   * delivered, and the cursor committed.
   * @throws the cause when the lease or the database is lost
   */
  async run(stop: AbortSignal): Promise<void> {
    const { notifications, clock, events } = this.#deps;
    const { wakeup, recipients, retention, lag, drain, progress, inFlight, fanout } = this.#parts;
    const { lost, fail, presence } = this.#parts;
    const ring = () => wakeup.ring();
    const check = () => {
      this.#cursor.check().catch(fail);
      void presence.load();
    };
    for (const event of RINGING) notifications.on(event, ring);
    for (const event of CONTROLLING) notifications.on(event, check);
    try {
      await recipients.start();
      void presence.load();
      const ending = AbortSignal.any([stop, lost]);
      const measured = lag.run(clock, (now) => events.emit('lag', now), ending);
      for (const running of [retention.run(ending), measured]) running.catch(fail);
      await drain.run(ending);
      lost.throwIfAborted();
      await this.#drainInFlight();
      lost.throwIfAborted();
      await progress.commit();
    } finally {
      inFlight.stop();
      fanout.stop();
      presence.stop();
      recipients.stop();
      for (const event of RINGING) notifications.off(event, ring);
      for (const event of CONTROLLING) notifications.off(event, check);
    }
  }

  /** How delivery stands now. */
  state(): LeaderState {
    const { fanout, drain, inFlight, recipients, presence } = this.#parts;
    return {
      ...fanout.state(),
      asleep: drain.asleep,
      doorbellTaken: this.#parts.doorbellTaken,
      bytesInFlight: inFlight.bytes,
      behind: recipients.behind,
      online: presence.online,
    };
  }

  /** Has the drain loop look at once whether there is anything to do. */
  wake(): void {
    this.#parts.wakeup.ring();
  }

  /** Connections that are being replayed to. */
  get joining(): number {
    return this.#parts.fanout.joining;
  }

  /** Connections for which an event still waits. */
  waitingFor(eventId: string): readonly Connection[] {
    return this.#parts.fanout.waitingFor(eventId);
  }

  /**
   * Resolves when everything that was read is delivered, or is not in time. Not by
   * AbortSignal.timeout: AbortSignal.any lets go of it, and it never fires
   * (https://github.com/nodejs/node/issues/57736).
   */
  async #drainInFlight(): Promise<void> {
    const { clock } = this.#deps;
    const { lost, inFlight, replay } = this.#parts;
    const [late, tooLateToJoin] = [new AbortController(), new AbortController()];
    const timers = [
      clock.after(DRAIN_DEADLINE_MS, () => late.abort()),
      clock.after(JOIN_DEADLINE_MS, () => tooLateToJoin.abort()),
    ];
    const deadline = AbortSignal.any([lost, late.signal]);
    await Promise.all([inFlight.empty(deadline), replay.settled(tooLateToJoin.signal)]);
    for (const timer of timers) timer.cancel();
  }
}
