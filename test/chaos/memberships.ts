import { setTimeout } from 'node:timers/promises';
import type pg from 'pg';
import { DatabaseClient } from './database-client.ts';

/** The room that users are in by a table. */
export const ROOM_BY_TABLE = 'members';

/**
 * A user's time in the room, by performance.now(). A commit was made at some time between asking
 * for it and its answer.
 */
export interface Stay {
  readonly joinAskedAt: number;
  joinedAt: number;
  leaveAskedAt: number;
  leftAt: number;
}

/** Puts users into the room and out of it, and notes when they were in it for sure, or may be. */
export class Memberships extends DatabaseClient {
  readonly stays = new Map<string, Stay[]>();
  readonly #random: () => number;
  readonly #users: readonly string[];

  constructor(options: {
    readonly databaseUrl: string;
    readonly random: () => number;
    readonly users: readonly string[];
  }) {
    super(options.databaseUrl);
    this.#random = options.random;
    this.#users = options.users;
    for (const user of options.users) this.stays.set(user, []);
  }

  /** A commit that was never answered may have happened or not: the table says. */
  protected override async connected(client: pg.Client): Promise<void> {
    const { rows } = await client.query<{ user_id: string }>('select user_id from chaos_member');
    const members = new Set(rows.map(({ user_id }) => user_id));
    const now = performance.now();
    for (const [user, stays] of this.stays) {
      const last = stays.at(-1);
      if (!last) continue;
      // An answer that never came comes now.
      if (last.joinedAt === Infinity && members.has(user)) last.joinedAt = now;
      if (last.leftAt === Infinity && !members.has(user)) {
        last.leaveAskedAt = Math.min(last.leaveAskedAt, now);
        last.leftAt = now;
      } else if (last.leaveAskedAt < Infinity && last.leftAt === Infinity)
        stays.push({ joinAskedAt: 0, joinedAt: now, leaveAskedAt: Infinity, leftAt: Infinity });
    }
  }

  protected async transaction(client: pg.Client): Promise<void> {
    const some = this.#users.filter(() => this.#random() < 0.15);
    const isMember = (user: string) => (this.stays.get(user)?.at(-1)?.leftAt ?? 0) === Infinity;
    const [leaving, joining] = [some.filter(isMember), some.filter((user) => !isMember(user))];
    await client.query('begin');
    await client.query('delete from chaos_member where user_id = any ($1)', [leaving]);
    await client.query('insert into chaos_member select unnest($1::text[])', [joining]);
    if (this.#random() < 0.3) await setTimeout(this.#random() * 500);
    const askedAt = performance.now();
    for (const user of leaving) (this.stays.get(user)?.at(-1) as Stay).leaveAskedAt = askedAt;
    for (const user of joining)
      this.stays.get(user)?.push({
        joinAskedAt: askedAt,
        joinedAt: Infinity,
        leaveAskedAt: Infinity,
        leftAt: Infinity,
      });
    await client.query('commit');
    const answeredAt = performance.now();
    for (const user of leaving) (this.stays.get(user)?.at(-1) as Stay).leftAt = answeredAt;
    for (const user of joining) (this.stays.get(user)?.at(-1) as Stay).joinedAt = answeredAt;
    await setTimeout(this.#random() * 400);
  }
}
