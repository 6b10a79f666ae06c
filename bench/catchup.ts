/**
 * The pace of a relay with 200,000 events that wait for 1,000 users: events a second until the last
 * is posted, and its peak memory.
 */
import type { Outcome, Size } from './outcome.ts';
import { BenchSystem } from './system.ts';

export async function catchup(size: Size): Promise<Outcome> {
  const [events, users] = [size.of(200_000, 10_000), size.of(1000, 100)];
  const system = await BenchSystem.start();
  await system.connect(users, { batch: true });
  await system.database('ours');
  await system.sql('ours', `select rowcast.watch('messages', 'MESSAGE', '{user:<recipient>}')`);
  await system.sql(
    'ours',
    `insert into messages (recipient, content) select 'user-' || n % ${users}, 'sent_' || repeat('x', 200) from generate_series(1, ${events}) n`,
  );
  const relay = await system.ours();
  const { arrivals, posts } = await system.sink.received({ events });
  const seconds = ((arrivals.at(-1) ?? 0) - (arrivals[0] ?? 0)) / 1000;
  const memory = await relay.peakMemoryMb();
  await relay.stop();
  await system.stop();
  const rate = Math.round(events / seconds);
  return {
    rows: [{ events, users, 'events/s': rate, posts, 'peak RSS MB': Math.round(memory) }],
    ratios: { eventsPerSecond: rate, peakRssMb: Math.round(memory) },
    targets: { eventsPerSecond: { least: 20_000 }, peakRssMb: { most: 300 } },
  };
}
