import fc from 'fast-check';
import type pg from 'pg';
import { expect, test } from 'vitest';
import type { Relay } from '../../src/relay/relay.ts';
import type { TestClient } from '../support/client/client.ts';
import { World } from '../support/world.ts';

/**
 * Random transactions that write to rooms and change who is in them, open at the same time and
 * committed in any order; clients that leave and come back with their cursor; relays that stop and
 * follow. Who gets what is what a plain model says, which knows the order of commits and no more.
 */

const USERS = ['ann', 'bob', 'cid'];
const ROOMS = ['red', 'blue'];
const SESSIONS = 3;

const user = fc.constantFrom(...USERS);
const room = fc.constantFrom(...ROOMS);
const session = fc.nat({ max: SESSIONS - 1 });
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ what: fc.constant('post' as const), session, room }) },
  {
    weight: 3,
    arbitrary: fc.record({ what: fc.constant('toggle' as const), session, user, room }),
  },
  { weight: 5, arbitrary: fc.record({ what: fc.constant('commit' as const), session }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('rollback' as const), session }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('leave' as const), user }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant('comeBack' as const), user }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('relay' as const) }) },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('fence' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer Each> ? Each : never;

/** One thing that a transaction does. */
type Deed =
  | { readonly post: number; readonly room: string }
  | { readonly user: string; readonly room: string; readonly isIn: boolean };

/** A post that is committed, and who was in its room then. */
interface Post {
  readonly number: number;
  readonly room: string;
  readonly members: ReadonlySet<string>;
}

class Model {
  readonly members = new Map(ROOMS.map((each) => [each, new Set<string>()]));
  readonly posts: Post[] = [];

  commit(deeds: readonly Deed[]): void {
    for (const deed of deeds) {
      const members = this.members.get(deed.room) as Set<string>;
      if ('post' in deed)
        this.posts.push({ number: deed.post, room: deed.room, members: new Set(members) });
      else if (deed.isIn) members.add(deed.user);
      else members.delete(deed.user);
    }
  }
}

/** One user's browser: it has one connection, or none. */
class Browser {
  readonly userId: string;
  client: TestClient | null = null;
  cursor: string | undefined;
  readonly received = new Set<number>();
  /** Posts that it must have, and posts that it may have. */
  readonly due = new Set<number>();
  readonly allowed = new Set<number>();
  /** Posts before are judged already. */
  judged = 0;

  constructor(userId: string) {
    this.userId = userId;
  }

  async connect(world: World): Promise<void> {
    const { userId, cursor } = this;
    this.client = await world.connect({ userId, ...(cursor ? { cursor } : {}) });
    this.client.onFrame = ({ id, type, data, cursor: at }) => {
      if (at) this.cursor = at;
      if (id !== undefined && type === 'NEW_POST') this.received.add(Number(data?.id));
    };
  }

  async ready(): Promise<unknown> {
    return this.client?.ready();
  }

  async heard(isFrame: (frame: { id?: string }) => boolean): Promise<void> {
    await this.client?.frame(isFrame);
  }

  /**
   * Everything that is committed so far has come to it.
   * @param isBack it was away for some of it: of a room that it is not in any more nothing is owed
   */
  judge({ posts, members }: Model, isBack = false): void {
    for (const { number, room: where, members: then } of posts.slice(this.judged)) {
      if (!then.has(this.userId)) continue;
      this.allowed.add(number);
      if (!isBack || members.get(where)?.has(this.userId)) this.due.add(number);
    }
    this.judged = posts.length;
    const outside = [...this.received].filter((number) => !this.allowed.has(number));
    const missing = [...this.due].filter((number) => !this.received.has(number));
    expect({ user: this.userId, outside, missing }).toEqual({
      user: this.userId,
      outside: [],
      missing: [],
    });
  }
}

class Scenario {
  readonly #world: World;
  readonly #model = new Model();
  readonly #browsers = USERS.map((userId) => new Browser(userId));
  readonly #sessions: { client: pg.PoolClient; deeds: Deed[] | null }[] = [];
  /** Who is in a room as a session sees it, or somebody else has it locked. */
  readonly #locked = new Map<string, number>();
  #posts = 0;
  #relay: Relay | undefined;

  constructor(world: World) {
    this.#world = world;
  }

  async run(steps: readonly Step[]): Promise<void> {
    const world = this.#world;
    for (let i = 0; i < SESSIONS; i++)
      this.#sessions.push({ client: await world.database.client(), deeds: null });
    this.#relay = await world.relay();
    for (const browser of this.#browsers) {
      await browser.connect(world);
      await browser.ready();
    }
    for (const each of steps) await this.#do(each);
    for (const [i] of this.#sessions.entries()) await this.#end(i, 'commit');
    for (const browser of this.#browsers) await this.#comeBack(browser);
    await this.#fence();
    for (const { client } of this.#sessions) client.release();
    for (const { client } of this.#browsers) await client?.close();
    await this.#relay?.stop();
    await world.sql('truncate members, posts');
  }

  async #do(each: Step): Promise<void> {
    if (each.what === 'post') await this.#post(each.session, each.room);
    else if (each.what === 'toggle') await this.#toggle(each.session, each.user, each.room);
    else if (each.what === 'commit' || each.what === 'rollback')
      await this.#end(each.session, each.what);
    else if (each.what === 'relay') await this.#nextRelay();
    else if (each.what === 'fence') await this.#fence();
    else {
      const browser = this.#browsers.find(({ userId }) => userId === each.user) as Browser;
      if (each.what === 'comeBack') await this.#comeBack(browser);
      else await this.#away(browser);
    }
  }

  async #begin(i: number): Promise<{ client: pg.PoolClient; deeds: Deed[] }> {
    const session = this.#sessions[i] as { client: pg.PoolClient; deeds: Deed[] | null };
    if (!session.deeds) await session.client.query('begin');
    session.deeds ??= [];
    return session as { client: pg.PoolClient; deeds: Deed[] };
  }

  async #post(i: number, where: string): Promise<void> {
    const { client, deeds } = await this.#begin(i);
    const number = ++this.#posts;
    await client.query('insert into posts (id, room) values ($1, $2)', [number, where]);
    deeds.push({ post: number, room: where });
  }

  /** Joins or leaves. A membership that another transaction has changed would have to wait. */
  async #toggle(i: number, userId: string, where: string): Promise<void> {
    const key = `${userId} ${where}`;
    if ((this.#locked.get(key) ?? i) !== i) return;
    const { client, deeds } = await this.#begin(i);
    this.#locked.set(key, i);
    const { rowCount } = await client.query(
      'delete from members where user_id = $1 and room = $2',
      [userId, where],
    );
    const isIn = rowCount === 0;
    if (isIn) await client.query('insert into members values ($1, $2)', [userId, where]);
    deeds.push({ user: userId, room: where, isIn });
  }

  async #end(i: number, how: 'commit' | 'rollback'): Promise<void> {
    const session = this.#sessions[i];
    if (!session?.deeds) return;
    await session.client.query(how);
    if (how === 'commit') this.#model.commit(session.deeds);
    session.deeds = null;
    for (const [key, holder] of this.#locked) if (holder === i) this.#locked.delete(key);
  }

  async #away(browser: Browser): Promise<void> {
    await browser.client?.close();
    browser.client = null;
  }

  async #comeBack(browser: Browser): Promise<void> {
    if (browser.client) return;
    await browser.connect(this.#world);
    expect(await browser.ready()).toMatchObject({ recovered: true });
    await browser.heard(await this.#fenced());
    browser.judge(this.#model, true);
  }

  async #nextRelay(): Promise<void> {
    await this.#relay?.stop();
    this.#relay = await this.#world.relay();
  }

  /** Waits until everybody who is there has everything, and judges that. */
  async #fence(): Promise<void> {
    const isFence = await this.#fenced();
    for (const browser of this.#browsers) {
      if (!browser.client) continue;
      await browser.heard(isFence);
      browser.judge(this.#model);
    }
  }

  /** Comes after everything that is committed by now. @returns whether a frame is it */
  async #fenced(): Promise<(frame: { id?: string }) => boolean> {
    const [sent] = await this.#world.sql<{ id: string }>(
      `select rowcast.broadcast('fence', null) as id`,
    );
    return ({ id }) => id === sent?.id;
  }
}

test('a member gets exactly what was committed while it was one, and a client that comes back of that what it may see now', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
      await new Scenario(await prepared()).run(steps);
    }),
    { numRuns: Number(process.env.PROPERTY_RUNS ?? 25), endOnFailure: true },
  );
});

let world: World | undefined;
async function prepared(): Promise<World> {
  if (world) return world;
  world = await World.start();
  await world.sql('create table members (user_id text, room text, primary key (user_id, room))');
  await world.sql('create table posts (id int primary key, room text)');
  await world.sql(`select rowcast.rooms_from('members', 'user_id', '<room>')`);
  await world.sql(`select rowcast.watch('posts', 'post', '{room:<room>}')`);
  return world;
}
