import type { Connection } from '../connections/connection.ts';
import type { Snapshot } from '../log/snapshot.ts';

/**
 * What this term knows of one connection.
 *
 *     replaying ── READY delivered ──▶ live ── falls behind, item changed ──▶ replaying
 *         └───────────── unservable ────┴──▶ closing ──▶ over
 *
 * Two rules, which Recipients keeps, are the whole guarantee across a takeover:
 *
 * 1. The cursor stays before the pin of every served recipient, or its row names the recipient with its pin. Whoever takes
 *    over delivers to it from there.
 * 2. `served_until` stays before `connectedAt` of every recipient that is not served, or the row names the recipient.
 *    Whoever takes over replays to it from its own cursor.
 */
export class Recipient {
  readonly connection: Connection;
  stage: 'replaying' | 'live' | 'closing' = 'replaying';
  /** It has had its replay on this connection, from this leader or the one before; its pin says up to where. */
  served: boolean;
  /** It has everything that this sees. Null while the pages in flight tell: it has what is committed. */
  pin: Snapshot | null;
  /** READY was delivered, by this leader or the one before. */
  hadReady = false;
  /** What it lacks waits in its lane, and its pin moves with that. */
  lagging = false;
  /** Replays that it was put into: of several only the last ends with everything delivered. */
  replays = 0;
  /** It is closed where it has not caught up by then. */
  deadline: NodeJS.Timeout | undefined;

  constructor(connection: Connection, served: boolean, pin: Snapshot | null) {
    this.connection = connection;
    this.served = served;
    this.pin = pin;
  }

  /** It lacks what came after the snapshot, and perhaps more already. */
  pinAt(snapshot: Snapshot): void {
    this.pin = this.pin ? this.pin.meet(snapshot) : snapshot;
  }
}
