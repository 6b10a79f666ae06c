/**
 * Stands for API Gateway and its clients, in a process of its own: takes posts at the wire's speed
 * and notes when each came. Speaks just enough HTTP to be no bottleneck; what it answers is what
 * API Gateway answers to a post that is taken.
 */
import { createServer, type Socket } from 'node:net';
import type { SinkMessage, SinkReport } from './sink-process.ts';

const ANSWER = Buffer.from(
  'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}',
);
const HEAD_END = Buffer.from('\r\n\r\n');
const now = () => performance.timeOrigin + performance.now();

let posts = 0;
let bytes = 0;
let events = 0;
let arrivals: number[] = [];
let latencies: number[] = [];
let wanted: { events: number; posts: number } | undefined;

function take(head: string, body: Buffer): void {
  if (!head.startsWith('POST ')) return;
  const at = now();
  posts++;
  bytes += body.length;
  arrivals.push(at);
  // Each row carries the time before its INSERT; a batch several.
  const text = body.toString('latin1');
  for (let i = text.indexOf('"sent_'); i !== -1; i = text.indexOf('"sent_', i + 6)) {
    events++;
    latencies.push(at - Number.parseFloat(text.slice(i + 6, i + 24)));
  }
  check();
}

function check(): void {
  if (!wanted || events < wanted.events || posts < wanted.posts) return;
  wanted = undefined;
  report();
}

function report(): void {
  const message: SinkReport = { posts, bytes, events, arrivals, latencies };
  process.send?.(message);
}

function serve(socket: Socket): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.setNoDelay(true);
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (;;) {
      const end = rest.indexOf(HEAD_END);
      if (end === -1) return;
      const head = rest.toString('latin1', 0, end);
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
      const whole = end + HEAD_END.length + length;
      if (rest.length < whole) return;
      take(head, rest.subarray(end + HEAD_END.length, whole));
      rest = rest.subarray(whole);
      socket.write(ANSWER);
    }
  });
}

process.on('message', (message: SinkMessage) => {
  if (message.kind === 'reset') {
    [posts, bytes, events, arrivals, latencies] = [0, 0, 0, [], []];
    wanted = undefined;
    process.send?.('reset');
  } else if (message.kind === 'report') report();
  else {
    wanted = message;
    check();
  }
});
process.on('disconnect', () => process.exit(0));

const server = createServer(serve);
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.send?.(typeof address === 'object' ? address?.port : undefined);
});
