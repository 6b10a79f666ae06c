import { openSession } from '../postgres/access.ts';
import type { CommandContext } from './context.ts';

const QUERY_TIMEOUT_MS = 10_000;

/**
 * `rowcast disconnect`: closes the connections of a term, as SQL would.
 * @throws when the term is none, or the role may not
 */
export async function disconnect(
  { database, terminal }: CommandContext,
  term: string,
  reason: string | null,
): Promise<void> {
  const session = await openSession(database, {
    applicationName: 'rowcast disconnect',
    queryTimeoutMs: QUERY_TIMEOUT_MS,
  });
  try {
    const [event] = await session.query<{ id: string }>(
      'select rowcast.disconnect($1, $2)::text as id',
      [term, reason],
    );
    terminal.print(
      `${term} is disconnected by event ${event?.id}; whoever has a good token may come back`,
    );
  } finally {
    await session.close();
  }
}
