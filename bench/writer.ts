/**
 * Inserts for other benchmarks, in a process of its own: `URL CONNECTIONS`; told for how long or
 * how many, says how many it did.
 */
import pg from 'pg';

export interface Load {
  /** For so long, as fast as it goes. */
  readonly ms?: number;
  /** Or so many, evenly. */
  readonly rows?: number;
  readonly perSecond?: number;
}

const [url = '', connections = '1'] = process.argv.slice(2);
const clients = await Promise.all(
  Array.from({ length: Number(connections) }, async () => {
    const client = new pg.Client(url);
    await client.connect();
    return client;
  }),
);

/** The time before the INSERT travels in the row: its receiver knows how long it took. */
function insert(client: pg.Client): Promise<unknown> {
  const sent = `sent_${(performance.timeOrigin + performance.now()).toFixed(3)}`;
  return client.query({
    name: 'insert',
    text: 'insert into messages (sender, content) values ($1, $2)',
    values: ['ann', sent],
  });
}

async function asFastAsItGoes(ms: number): Promise<number> {
  const until = performance.now() + ms;
  let count = 0;
  await Promise.all(
    clients.map(async (client) => {
      while (performance.now() < until) {
        await insert(client);
        count++;
      }
    }),
  );
  return count;
}

async function evenly(rows: number, perSecond: number): Promise<number> {
  const began = performance.now();
  const inserted: Promise<unknown>[] = [];
  for (let n = 0; n < rows; n++) {
    const waitMs = began + (n * 1000) / perSecond - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    inserted.push(insert(clients[n % clients.length] as pg.Client));
  }
  await Promise.all(inserted);
  return rows;
}

process.on('message', async ({ ms, rows, perSecond }: Load) =>
  process.send?.(
    ms === undefined ? await evenly(rows ?? 1, perSecond ?? 1) : await asFastAsItGoes(ms),
  ),
);
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
