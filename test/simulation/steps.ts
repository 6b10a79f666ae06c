import type { SimulatedClient } from './client.ts';
import type { Trouble } from './gateway.ts';
import { ROOM_BY_TABLE } from './memberships.ts';
import type { Step, StepKind } from './plan.ts';
import type { Transaction } from './postgres.ts';
import type { RunningRelay, Simulation } from './simulation.ts';

const TROUBLES: readonly Trouble[] = ['throttled', 'hangs', 'fails'];
const ROOMS = ['red', 'blue'];
const BURST_ROWS = 15;
const MAX_TRANSACTIONS = 6;
const MAX_RELAYS = 3;

function pick<Item>(items: readonly Item[], who: number): Item | undefined {
  return items[Math.floor(who * items.length)];
}

function audienceOf(simulation: Simulation, how: number): readonly string[] {
  const user = pick(simulation.clients, (how * 7) % 1)?.userId ?? '';
  if (how < 0.5) return ['all'];
  if (how < 0.7) return [`user:${user}`];
  if (how < 0.8) return [`room:${ROOM_BY_TABLE}`];
  if (how < 0.9) return [`room:${pick(ROOMS, (how * 13) % 1)}`];
  return [`room:${pick(ROOMS, (how * 13) % 1)}`, `user:${user}`];
}

/** A row is locked by the transaction that writes it, as Postgres does. */
function keyFor(simulation: Simulation, writer: Transaction, who: number): string {
  const key = `k${Math.floor(who * 9)}`;
  const isLocked = simulation.transactions.some(
    ({ rows, xid }) => xid !== writer.xid && rows.some((row) => row.key === key),
  );
  return isLocked ? `k-${writer.xid}` : key;
}

function write(simulation: Simulation, transaction: Transaction, { who, how }: Step): void {
  const key = keyFor(simulation, transaction, (who * 31) % 1);
  const row = simulation.postgres.write(transaction, key, audienceOf(simulation, how));
  simulation.trace(`xid ${row.xid} writes ${row.id} of ${row.key} for ${row.audience}`);
}

function end(simulation: Simulation, who: number, how: 'commit' | 'rollback'): void {
  const { transactions, postgres } = simulation;
  const [transaction] = transactions.splice(Math.floor(who * transactions.length), 1);
  if (!transaction) return;
  simulation.trace(`xid ${transaction.xid} ${how}s`);
  postgres[how](transaction);
}

function connected(simulation: Simulation, who: number): SimulatedClient | undefined {
  return pick(
    simulation.clients.filter(({ isConnected }) => isConnected),
    who,
  );
}

/** Any relay, but the leader more often. */
function relayOf(simulation: Simulation, { who, how }: Step): RunningRelay | undefined {
  const leader = simulation.relays.find(({ relay }) => relay.role === 'leader');
  return leader && how < 0.7 ? leader : pick(simulation.relays, who);
}

/** Does a step. @returns a number of milliseconds where they pass quietly after it */
type Action = (simulation: Simulation, step: Step) => unknown;

export const ACTIONS: Readonly<Record<StepKind, Action>> = {
  begin(simulation, step) {
    if (simulation.transactions.length >= MAX_TRANSACTIONS) return;
    const transaction = simulation.postgres.begin();
    simulation.transactions.push(transaction);
    // Some take their id long before they write a row.
    if (step.how < 0.6) write(simulation, transaction, step);
  },
  write(simulation, step) {
    const { transactions, postgres } = simulation;
    const open = step.how < 0.3 ? pick(transactions, step.who) : undefined;
    const transaction = open ?? postgres.begin();
    write(simulation, transaction, { ...step, how: (step.how * 3) % 1 });
    if (!open) postgres.commit(transaction);
  },
  burst(simulation, step) {
    const { postgres } = simulation;
    for (let n = 0; n < BURST_ROWS; n++) {
      const transaction = postgres.begin();
      const part = { ...step, who: (step.who * (n + 3)) % 1, how: (step.how * (n + 2)) % 1 };
      write(simulation, transaction, part);
      postgres.commit(transaction);
    }
  },
  commit: (simulation, { who }) => end(simulation, who, 'commit'),
  rollback: (simulation, { who }) => end(simulation, who, 'rollback'),
  connect(simulation, { who, how }) {
    const client = pick(
      simulation.clients.filter(({ connection, left }) => !connection && !left),
      who,
    );
    // $connect stores the item late, now and then very late; some tokens live shortly.
    const storedMs = how > 0.9 ? 25_000 : how > 0.75 ? 2500 : 20;
    const ttlSeconds = (how * 10) % 1 > 0.75 ? 15 : 3600;
    if (client) simulation.connect(client, storedMs, ttlSeconds, (how * 100) % 1 > 0.7);
  },
  cut(simulation, { who, how }) {
    connected(simulation, who)?.cut(how * 9000);
  },
  leave(simulation, { who }) {
    const client = connected(simulation, who);
    if (!client?.connection) return;
    client.left = true;
    simulation.gateway.drop(client.connection.connectionId);
  },
  drop(simulation, { who }) {
    const { connection } = connected(simulation, who) ?? {};
    if (connection) simulation.gateway.drop(connection.connectionId);
  },
  rooms(simulation, { who, how }) {
    const rooms = how < 0.3 ? [] : [pick(ROOMS, (how * 10) % 1) as string];
    connected(simulation, who)?.moveTo(rooms, (how * 100) % 1 < 0.7);
  },
  // In the transaction of somebody, or in one of its own.
  members(simulation, { who, how }) {
    const { transactions, postgres } = simulation;
    const open = how < 0.5 ? pick(transactions, (who * 11) % 1) : undefined;
    const transaction = open ?? postgres.begin();
    const user = pick(simulation.clients, who)?.userId as string;
    const change = postgres.changeMembership(transaction, user);
    if (change)
      simulation.trace(
        `xid ${change.xid}: ${user} ${change.joins ? 'joins' : 'leaves'} (${change.id})`,
      );
    if (!open) postgres.commit(transaction);
  },
  disconnect(simulation, { who, how }) {
    const { transactions, postgres } = simulation;
    const open = how < 0.3 ? pick(transactions, (who * 11) % 1) : undefined;
    const transaction = open ?? postgres.begin();
    const user = pick(simulation.clients, who)?.userId as string;
    const audience = how > 0.9 ? ['all'] : [`user:${user}`];
    const { id } = postgres.write(transaction, 'none', audience, { isDisconnect: true });
    simulation.trace(`${id} disconnects ${audience}`);
    if (!open) postgres.commit(transaction);
  },
  slowOne(simulation, { who, how }) {
    const { connection } = connected(simulation, who) ?? {};
    const trouble = pick(TROUBLES, how * 1.4 > 1 ? 0 : how);
    if (connection && trouble) simulation.gateway.troubled.set(connection.connectionId, trouble);
  },
  trouble(simulation, { how }) {
    simulation.gateway.trouble = pick(TROUBLES, how) ?? null;
  },
  calm(simulation, { how }) {
    simulation.gateway.trouble = null;
    if (how < 0.5) simulation.gateway.troubled.clear();
    simulation.table.fails = false;
    simulation.partitioned.clear();
    simulation.postgres.strangerHasDoorbell = false;
  },
  startRelay(simulation) {
    if (simulation.relays.length < MAX_RELAYS) simulation.startRelay();
  },
  stopRelay(simulation, step) {
    const running = relayOf(simulation, step);
    if (running) simulation.stopRelay(running);
  },
  killRelay(simulation, step) {
    const running = relayOf(simulation, step);
    if (running) simulation.killRelay(running);
    if (simulation.relays.length === 0) simulation.startRelay();
  },
  freeze: (simulation, step) => relayOf(simulation, step)?.process.freeze(),
  thaw(simulation) {
    for (const { process } of simulation.relays) process.thaw();
  },
  loseSession(simulation, step) {
    const { postgres } = simulation;
    const backend = pick([...postgres.backends], step.who);
    if (backend) postgres.endBackend(backend);
  },
  partition(simulation, step) {
    const running = relayOf(simulation, step);
    if (running) simulation.partitioned.add(running.process);
  },
  deaf: (simulation, step) => relayOf(simulation, step)?.notifications.loseFor(step.how * 8000),
  // Somebody takes the lock that everybody may take, and keeps it for a time.
  stranger({ postgres, time }, step) {
    postgres.strangerHasDoorbell = true;
    time.after(step.how * 60_000, () => {
      postgres.strangerHasDoorbell = false;
    });
  },
  tableFails(simulation) {
    simulation.table.fails = true;
  },
  refetch: ({ postgres }) => postgres.refetch(),
  // Rows that are not on disk yet are read and sent; after the crash others get their ids.
  crash(simulation, step) {
    const { postgres, time } = simulation;
    postgres.flushesLate = true;
    ACTIONS.burst(simulation, { ...step, how: 0.1 });
    time.after(step.how * 150, () => {
      simulation.transactions.splice(0);
      const undone = postgres.crash();
      postgres.flushesLate = false;
      simulation.trace(`Postgres crashes and undoes ${undone.map(({ id }) => id)}`);
      for (const client of simulation.clients) client.forgetUndone(undone);
      ACTIONS.burst(simulation, step);
    });
  },
  // A long quiet time, in which old connections count as served and old rows are removed.
  wait: (_, { how }) => how * 60_000,
};
