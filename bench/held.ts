/**
 * Prints the heap, in MB, that so many connections take with everything the relay keeps of them.
 */
import { EventEmitter } from 'node:events';
import { pino } from 'pino';
import { systemClock } from '../src/clock.ts';
import { ConnectionDirectory } from '../src/connections/connection-directory.ts';
import { Fanout } from '../src/pusher/fanout.ts';
import type { FanoutEvents } from '../src/pusher/fanout-owner.ts';

const collect = globalThis.gc as () => void;
collect();
const before = process.memoryUsage().heapUsed;
const directory = new ConnectionDirectory();
const fanout = new Fanout({
  clock: systemClock,
  events: new EventEmitter<FanoutEvents>(),
  gateway: {
    knownWithinMs: 30_000,
    post: async () => ({ kind: 'delivered' }),
    close: async () => ({ kind: 'delivered' }),
  },
  log: pino({ level: 'silent' }),
  mayPost: () => true,
  maxPostsInFlight: 1,
  postsPerSecondLimit: 1,
  maxFrameBytes: 32_000,
  deliveryDeadlineMs: 30_000,
});
directory.on('joined', (connection) => {
  fanout.open(connection);
  fanout.goLive(connection);
});
const now = Date.now();
for (let n = 0; n < Number(process.argv[2]); n++) {
  directory.put({
    connectionId: Buffer.from(`connection-${n}`).toString('base64'),
    userId: `user-${n}`,
    connectedAt: now,
    ttl: Math.floor(now / 1000) + 7200,
    rooms: [`room-${n % 1000}`, `team-${n % 50}`],
    roles: n % 10 === 0 ? ['admin'] : [],
    cursor: '84011234-0-1.91e2aadd',
    batch: true,
  });
}
collect();
process.stdout.write(String(Math.round((process.memoryUsage().heapUsed - before) / 1e6)));
process.exit(directory.size > 0 ? 0 : 1);
