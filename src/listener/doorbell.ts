import type { SqlSession } from '../postgres/session.ts';

/**
 * The relay's "asleep" sign: an advisory lock that it holds while it sleeps. A writer that cannot
 * share the lock rings (NOTIFY); a writer that can knows the relay awake and stays quiet, because
 * NOTIFY takes one lock for the whole cluster at commit and would serialise all writers.
 *
 * The relay only ever tries for the lock. Were it to wait in the queue, the writers behind it could
 * not share the lock and would ring, for as long as the slowest writer holds it. A holder of
 * the shared lock is a writer that saw the relay awake: the relay stays awake, and reads
 * its rows. Once it has the lock, the relay must read one more time before it sleeps.
 *
 * The session is the lease's: the lock goes when the relay goes, and nobody rings for a dead one.
 */
export class Doorbell {
  readonly #session: SqlSession;
  #asleep = false;

  constructor(deps: { session: SqlSession }) {
    this.#session = deps.session;
  }

  get asleep(): boolean {
    return this.#asleep;
  }

  /** @returns false while a writer that knows the relay awake has not ended */
  async trySleep(): Promise<boolean> {
    const [row] = await this.#session.query<{ held: boolean }>(
      'select pg_try_advisory_lock(rowcast.lock_class(), rowcast.doorbell_lock()) as held',
      [],
      'doorbell_sleep',
    );
    this.#asleep = row?.held ?? false;
    return this.#asleep;
  }

  async wake(): Promise<void> {
    if (!this.#asleep) return;
    this.#asleep = false;
    await this.#session.query(
      'select pg_advisory_unlock(rowcast.lock_class(), rowcast.doorbell_lock())',
      [],
      'doorbell_wake',
    );
  }
}
