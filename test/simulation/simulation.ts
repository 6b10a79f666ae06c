import { pino } from 'pino';
import type { Connection } from '../../src/connections/connection.ts';
import { ConnectionDirectory } from '../../src/connections/connection-directory.ts';
import { Snapshot } from '../../src/log/snapshot.ts';
import { Relay } from '../../src/relay/relay.ts';
import type { DeliverySettings } from '../../src/relay/relay-events.ts';
import { SimulatedClient, type Surroundings, Violation } from './client.ts';
import { SimulatedFeed } from './feed.ts';
import { SimulatedGateway, SimulatedTable } from './gateway.ts';
import { aheadOf } from './oracle.ts';
import type { Step } from './plan.ts';
import { SimulatedPostgres, type Transaction } from './postgres.ts';
import { shown } from './presence.ts';
import { type Network, SimulatedNotifications, SimulatedSession } from './session.ts';
import { ACTIONS } from './steps.ts';
import { VirtualProcess, VirtualTime } from './virtual-time.ts';

const USERS = ['ann1', 'bob', 'cid1', 'dan', 'eve'];
const ROOMS = ['red', 'blue'];
/** After the last step everything is healed, and must be delivered within this. */
const SETTLE_MS = 240_000;
const STOP_MS = 40_000;
/** A leader trusts its lease for this long after it was last proved (listener/lease.ts). */
const TRUST_MS = 8000;

/** Small, so that pages, backlogs and slow lanes come with a few rows. */
const SETTINGS: DeliverySettings = {
  doorbell: true,
  timing: {
    collectMs: 30,
    stayAwakeMs: 100,
    pollIntervalMs: 4000,
    deafPollIntervalMs: 300,
    idleCommitIntervalMs: 2000,
  },
  pageRows: 4,
  maxBytesInFlight: 40_000,
  maxFrameBytes: 32_000,
  maxPostsInFlight: 3,
  postsPerSecondLimit: 400,
  deliveryDeadlineMs: 8000,
  replayMaxEvents: 400,
  retention: { keep: '40 seconds', keepUndelivered: '45 seconds', intervalMs: 5000 },
};

/** A relay in a process of its own. */
export interface RunningRelay {
  readonly process: VirtualProcess;
  readonly relay: Relay;
  readonly directory: ConnectionDirectory;
  readonly notifications: SimulatedNotifications;
  readonly sessions: SimulatedSession[];
  stopping: boolean;
}

/** The whole system in virtual time. `run` throws a Violation where a promise is broken. */
export class Simulation implements Surroundings, Network {
  readonly time: VirtualTime;
  readonly postgres: SimulatedPostgres;
  readonly gateway: SimulatedGateway;
  readonly table = new SimulatedTable();
  readonly clients: readonly SimulatedClient[];
  relays: RunningRelay[] = [];
  readonly transactions: Transaction[] = [];
  readonly partitioned = new Set<VirtualProcess>();
  readonly lines: string[] = [];
  #violation: Violation | null = null;
  #processes = 0;
  #connections = 0;

  constructor(seed: number) {
    this.time = new VirtualTime(seed);
    this.postgres = new SimulatedPostgres(this.time);
    this.gateway = new SimulatedGateway(this.time);
    this.clients = USERS.map(
      (user, n) =>
        new SimulatedClient(user, n % 2 === 0 ? [ROOMS[(n / 2) % 2] as string] : [], this),
    );
    if (seed % 2 === 0) this.postgres.presence.watched = ['*'];
    this.gateway.requested = (process) => this.#checkLease(process);
    this.postgres.committed = (cursor) => {
      this.trace(`the cursor is ${cursor.snapshot} ${cursor.exceptions}`);
      const rows = this.postgres.committedRows();
      for (const client of this.clients) {
        const wrong = aheadOf(client, cursor, rows);
        if (wrong) this.violated(wrong);
      }
    };
  }

  /** A relay that lost its lease stops posting once it cannot trust it any more. */
  #checkLease(process: VirtualProcess): void {
    const { lease } = this.postgres;
    if (!lease || lease.backend.owner === process) return;
    const sinceMs = this.time.now - lease.since;
    if (sinceMs > TRUST_MS)
      this.violated(`${process.name} posts ${sinceMs} ms after another relay took the lease`);
  }

  async run(steps: readonly Step[]): Promise<void> {
    this.startRelay();
    for (const step of steps) {
      await this.#pass(step.gapMs);
      this.trace(`-- ${step.kind}`);
      const quietMs = ACTIONS[step.kind](this, step);
      if (typeof quietMs === 'number') await this.#pass(quietMs);
    }
    await this.#settle();
    await this.#stop();
  }

  trace(line: string): void {
    this.lines.push(`${(this.time.now / 1000).toFixed(3)} ${line}`);
  }

  leadersKnow({ connectionId, connectedAt }: Connection, room: string): boolean {
    const leaders = this.relays.filter(({ relay }) => relay.role === 'leader');
    return leaders.every(({ directory }) =>
      [...directory.all()].some(
        (item) =>
          item.connectionId === connectionId &&
          item.connectedAt === connectedAt &&
          item.rooms?.includes(room),
      ),
    );
  }

  violated(message: string): void {
    this.trace(`VIOLATION ${message}`);
    this.#violation ??= new Violation(message);
  }

  isPartitioned(process: VirtualProcess): boolean {
    return this.partitioned.has(process);
  }

  startRelay(): void {
    const name = `relay ${++this.#processes}`;
    const process = new VirtualProcess(name, this.time, this.time.between(-800, 800));
    const directory = new ConnectionDirectory(process);
    const { time, table } = this;
    const sessions: SimulatedSession[] = [];
    const notifications = new SimulatedNotifications(this, process);
    const relay = new Relay({
      clock: process,
      name,
      openSession: async () => {
        const session = await SimulatedSession.open(this, process);
        sessions.push(session);
        return session;
      },
      notifications,
      directory,
      feed: new SimulatedFeed({ time, process, table, directory }),
      store: { remove: (id, connectedAt) => this.#remove(process, id, connectedAt) },
      gateway: this.gateway.forProcess(process),
      settings: SETTINGS,
      log: pino({ level: 'silent' }),
    });
    relay.on('role', (role) => this.trace(`${name} is ${role}`));
    this.relays.push({ process, relay, directory, notifications, sessions, stopping: false });
    void relay.start();
  }

  /** A clean stop; the process ends once it is over. */
  stopRelay(running: RunningRelay): void {
    if (running.stopping) return;
    running.stopping = true;
    this.trace(`${running.process.name} stops`);
    void running.relay.stop().then(() => {
      running.process.kill();
      this.relays = this.relays.filter((each) => each !== running);
    });
  }

  killRelay(running: RunningRelay): void {
    this.trace(`${running.process.name} is killed`);
    running.process.kill();
    void running.notifications.stop();
    for (const session of running.sessions) session.closeSoon();
    this.relays = this.relays.filter((each) => each !== running);
  }

  /**
   * @param reused with the id of the client's connection before. No gateway gives it to others, or
   * while a relay still knows it
   */
  connect(client: SimulatedClient, storedMs: number, ttlSeconds: number, reused: boolean): void {
    const { formerId } = client;
    const isFree =
      formerId !== null &&
      !this.gateway.sockets.has(formerId) &&
      !this.table.items.has(formerId) &&
      !this.relays.some(({ process, relay }) => process.isFrozen || relay.role === 'starting') &&
      !this.relays.some(({ directory }) => knows(directory, formerId));
    const id = reused && isFree ? formerId : `c${++this.#connections}=`;
    client.connect(id, storedMs, ttlSeconds);
  }

  #remove(process: VirtualProcess, connectionId: string, connectedAt?: number): Promise<void> {
    const { time, table } = this;
    return new Promise((resolve) => {
      time.after(time.between(2, 40), () => {
        const item = table.items.get(connectionId);
        if (item && (connectedAt === undefined || item.connectedAt === connectedAt))
          table.items.delete(connectionId);
        process.run(resolve);
      });
    });
  }

  async #pass(ms: number): Promise<void> {
    await this.time.run(this.time.now + ms, () => this.#violation !== null);
    if (this.#violation) throw this.#violation;
  }

  /** Heals everything, and waits until everybody has everything. */
  async #settle(): Promise<void> {
    this.trace('-- everything is healed');
    const { postgres, gateway, table, time } = this;
    for (const transaction of this.transactions.splice(0)) postgres.commit(transaction);
    gateway.trouble = null;
    gateway.troubled.clear();
    table.fails = false;
    this.partitioned.clear();
    for (const { process } of this.relays) process.thaw();
    if (!this.relays.some(({ stopping }) => !stopping)) this.startRelay();
    const last = postgres.begin();
    postgres.write(last, 'last', ['all']);
    postgres.commit(last);
    const deadline = time.now + SETTLE_MS;
    while (time.now < deadline) {
      for (const client of this.clients)
        if (!client.left && !client.connection) this.connect(client, 20, 3600, false);
      await this.#pass(1000);
      if (this.#isSettled()) return;
    }
    throw new Violation(this.#unsettled() ?? `never quiet: ${this.#state()}`);
  }

  #isSettled(): boolean {
    const { cursor } = this.postgres;
    return (
      this.#unsettled() === null &&
      this.relays.some(({ relay }) => relay.role === 'leader' && relay.state?.asleep) &&
      cursor.until === null &&
      this.postgres.committedRows().every(({ xid }) => Snapshot.parse(cursor.snapshot).sees(xid))
    );
  }

  /** Everybody knows who is in his rooms, and so does the database. */
  #misinformed(): string | null {
    const { presence, cursor } = this.postgres;
    if (presence.watched.length === 0) return null;
    const here = this.clients.filter(({ left }) => !left);
    const truth = shown(new Map(here.map(({ userId, roomsNow }) => [userId, roomsNow])));
    const known = presence.isKnownBy(String(cursor.term)) ? shown(presence.online) : 'nothing';
    if (known !== truth) return `the database says that ${known} are online, and ${truth} are`;
    for (const client of here)
      for (const room of client.roomsNow) {
        const users = here.filter((each) => each.roomsNow.includes(room));
        const told = [...client.presence.of(room).state.users.keys()];
        if (told.sort().join() !== String(users.map(({ userId }) => userId).sort()))
          return `${client.userId} was told that ${told} are in ${room}`;
      }
    return null;
  }

  #state(): string {
    const relays = this.relays.map(
      ({ relay, notifications: { listening } }) =>
        `${relay.role}, ${listening ? 'listening' : 'deaf'}, asleep ${relay.state?.asleep}`,
    );
    const { cursor, running, doorbell, lease } = this.postgres;
    const open = [...running.keys()];
    return `${relays.join('; ')}; cursor ${cursor.snapshot}, open ${open}, doorbell ${doorbell !== null}, lease until ${lease?.until}`;
  }

  #unsettled(): string | null {
    for (const client of this.clients) {
      if (client.left) continue;
      if (!client.isReady) return `${client.userId} is not READY`;
      const call = this.postgres.committedRows().find((row) => client.isDisconnectedBy(row));
      if (call) return `${client.userId} stays although ${call.id} disconnects it`;
      const [missing] = client.missing(this.postgres.committedRows());
      if (missing) return `${client.userId} never got ${missing.id} (xid ${missing.xid})`;
    }
    return this.#misinformed();
  }

  /** All relays stop cleanly, and in time. */
  async #stop(): Promise<void> {
    for (const running of this.relays) this.stopRelay(running);
    await this.time.run(this.time.now + STOP_MS, () => this.relays.length === 0);
    if (this.relays.length > 0) throw new Violation('a relay does not stop');
  }
}

function knows(directory: ConnectionDirectory, id: string): boolean {
  return [...directory.all(), ...directory.expired()].some(
    ({ connectionId }) => connectionId === id,
  );
}
