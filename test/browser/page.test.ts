import { rm } from 'node:fs/promises';
import { SignJWT } from 'jose';
import pg from 'pg';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { DevUrls } from '../../src/local/dev-folder.ts';
import { browserPath, launchBrowser, screenshot } from '../support/client/browser.ts';
import { type DevProcess, startDev } from '../support/process/dev.ts';
import { temporaryFolder } from '../support/process/temporary-folder.ts';

const JWT_SECRET = 'a secret that is long enough for HS256';

let system: DevProcess;
let urls: DevUrls;
let browser: Browser;
let database: pg.Client;
const errors: string[] = [];

describe.skipIf(!browserPath)('the page of rowcast dev', () => {
  beforeAll(async () => {
    const dir = await temporaryFolder('browser');
    system = startDev(dir, ['--port', '0'], { JWT_SECRET });
    [browser, urls] = await Promise.all([launchBrowser(), system.ready()]);
    database = new pg.Client(urls.databaseUrl);
    await database.connect();
    return async () => {
      await Promise.all([browser.close(), database.end()]);
      await system.stop();
      await rm(dir, { recursive: true, force: true });
    };
  });

  afterAll(() => expect(errors).toEqual([]));

  /** A tab of its own, of somebody who has signed in. */
  async function open(
    userId = 'alice',
    prepare: (page: Page) => Promise<unknown> = async () => undefined,
  ): Promise<Page> {
    const context = await browser.newContext({ viewport: { width: 1200, height: 900 } });
    onTestFinished(() => context.close());
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    page.on('pageerror', (error) => errors.push(error.message));
    // A browser's own message about a failed request is no error of the page.
    page.on('console', (message) => {
      if (
        message.type() === 'error' &&
        !/Failed to load resource|WebSocket connection to/.test(message.text())
      )
        errors.push(message.text());
    });
    await prepare(page);
    await page.goto(urls.pageUrl);
    if (userId !== 'alice') await connectAs(page, { User: userId });
    return page;
  }

  async function connectAs(page: Page, fields: Record<string, string>): Promise<void> {
    for (const [label, value] of Object.entries(fields))
      await page.getByLabel(label, { exact: true }).fill(value);
    await page.getByRole('button', { name: 'Connect', exact: true }).click();
  }

  const shows = (page: Page, sign: string) =>
    page.locator('.sign', { hasText: new RegExp(`^${sign}$`) }).waitFor();

  async function live(page: Page): Promise<Page> {
    await shows(page, 'Live');
    return page;
  }

  const insert = async (content: string) =>
    Number(
      (
        await database.query<{ id: string }>(
          'insert into messages (content) values ($1) returning id',
          [content],
        )
      ).rows[0]?.id,
    );

  test('rows appear, change and go as they do in the database, without a reload and over one socket', async () => {
    const id = await insert('was there before');
    let sockets = 0;
    let loads = 0;
    const page = await open('alice', async (tab) => {
      tab.on('websocket', () => sockets++);
      tab.on('load', () => loads++);
      await tab.addInitScript({
        content: `const { animate } = Element.prototype;
          Element.prototype.animate = function (...args) {
            this.dataset.flashes = 1 + Number(this.dataset.flashes ?? 0);
            return animate.apply(this, args);
          };`,
      });
    });
    await live(page);
    const row = (rowId: number) =>
      page.locator(`section[aria-labelledby=messages] li[data-key="${rowId}"]`);
    await row(id).getByText('was there before').waitFor();
    const inserted = await insert('from psql');
    await row(inserted).getByText('from psql').waitFor();
    await expect.poll(() => row(inserted).getAttribute('data-flashes')).toBe('1');
    await database.query(`update messages set content = 'changed' where id = $1`, [id]);
    await row(id).getByText('changed').waitFor();
    await screenshot(page, 'rows');
    await database.query('delete from messages where id = $1', [id]);
    await row(id).and(page.locator('.gone')).waitFor({ state: 'attached' });
    await database.query(`insert into complaints (title) values ('too late')`);
    await page.getByText('too late').waitFor();
    await database.query('truncate complaints');
    await page.getByText('too late').waitFor({ state: 'detached' });
    expect({ sockets, loads }).toEqual({ sockets: 1, loads: 1 });
    for (const figure of ['p50', 'p95'])
      await page
        .locator(`[data-figure=${figure}]`)
        .getByText(/^\d+ ms$/)
        .waitFor();
    await expect.poll(() => page.locator('.bar').count()).toBeGreaterThan(2);
  });

  test('everything can be done by keyboard, and what the database refuses is said', async () => {
    const page = await live(await open());
    const { keyboard } = page;
    await page.getByLabel('sender', { exact: true }).focus();
    await keyboard.type('ann');
    await keyboard.press('Tab');
    await keyboard.type('ben');
    await keyboard.press('Tab');
    await keyboard.type('typed');
    await keyboard.press('Enter');
    const row = page.locator('li', { hasText: 'typed' });
    for (const name of ['ann', 'ben']) await row.getByText(name, { exact: true }).waitFor();
    await row.getByRole('button', { name: /Edit/ }).focus();
    await keyboard.press('Enter');
    for (let i = 0; i < 2; i++) await keyboard.press('Tab');
    await keyboard.type('corrected');
    await screenshot(page, 'editing');
    await keyboard.press('Enter');
    const corrected = page.locator('li', { hasText: 'corrected' });
    await corrected.getByRole('button', { name: /Edit/ }).press('Enter');
    await keyboard.press('Escape');
    await corrected.getByRole('button', { name: /Delete/ }).press('Enter');
    await corrected.and(page.locator('.gone')).waitFor({ state: 'attached' });
    await page.getByLabel('Data (JSON)').fill('{');
    await page.getByRole('button', { name: 'Send' }).press('Enter');
    await page.getByRole('alert').getByText(/json/).waitFor();
  });

  test('a message to a user is in each tab of that user and in nobody else’s; roles and rooms count', async () => {
    const [first, second, other] = await Promise.all([open(), open(), open('bob')]);
    await Promise.all([first, second, other].map(live));
    await connectAs(other, { Roles: 'support, admin', Rooms: 'lobby, office' });
    await live(other);
    await first.getByRole('button', { name: 'Send' }).click();
    await database.query(
      `select rowcast.send_to_role('admin', 'for_admins', '1'), rowcast.send_to_room('office', 'for_office', '2')`,
    );
    for (const page of [first, second])
      await page
        .locator('section[aria-labelledby=direct] li')
        .getByText('upload_progress')
        .waitFor();
    const sent = other.locator('section[aria-labelledby=direct] li');
    await sent.getByText('for_admins').waitFor();
    await sent.getByText('for_office').waitFor();
    expect(await sent.allTextContents()).toHaveLength(2);
    const connected = first.locator('section[aria-labelledby=connected]');
    await connected.locator('li', { hasText: 'bob' }).getByText('lobby, office').waitFor();
    await other.context().close();
    await connected.locator('li', { hasText: 'bob' }).waitFor({ state: 'detached' });
    expect(
      await first.locator('section[aria-labelledby=direct] li').allTextContents(),
    ).toHaveLength(1);
    await screenshot(first, 'sent-to-you');
  });

  test('rooms are joined and left on the open socket, and show who is there: users, not tabs', async () => {
    let sockets = 0;
    const count = async (tab: Page) => void tab.on('websocket', () => sockets++);
    const [ann, tab, bob] = await Promise.all([
      open('ann', count),
      open('ann', count),
      open('bob', count),
    ]);
    await Promise.all([ann, tab, bob].map(live));
    const before = sockets;
    const room = (page: Page, name: string) => page.locator(`li[data-room="${name}"]`);
    const join = async (page: Page, name: string) => {
      await page.getByLabel('Room', { exact: true }).fill(name);
      await page.getByRole('button', { name: 'Join' }).click();
    };
    for (const page of [ann, tab, bob]) await join(page, 'team-7');
    await join(bob, 'lobby');
    for (const page of [ann, bob]) {
      await room(page, 'team-7').getByText('2 here').waitFor();
      for (const name of ['ann', 'bob'])
        await room(page, 'team-7').locator('.badge', { hasText: name }).waitFor();
    }
    await room(bob, 'lobby').getByText('1 here').waitFor();
    await database.query(`select rowcast.send_to_room('team-7', 'for_team_7', '1')`);
    await ann.locator('section[aria-labelledby=direct] li').getByText('for_team_7').waitFor();
    await ann
      .locator('section[aria-labelledby=connected] li', { hasText: 'bob' })
      .getByText('team-7, lobby')
      .waitFor();
    await screenshot(ann, 'rooms-of-ann');
    await screenshot(bob, 'rooms-of-bob');
    await bob.getByRole('button', { name: 'Leave team-7' }).click();
    await room(ann, 'team-7').getByText('1 here').waitFor();
    await room(bob, 'team-7').waitFor({ state: 'detached' });
    expect(sockets).toBe(before);
  });

  test('rows that were missed while the connection was cut are replayed', async () => {
    const page = await live(await open());
    await page.getByRole('button', { name: 'Cut for 5 s' }).click();
    await shows(page, 'Connecting');
    await insert('missed 1');
    await insert('missed 2');
    await screenshot(page, 'cut');
    expect(await page.getByText('missed 1').count()).toBe(0);
    await live(page);
    await page.getByText('missed 1').waitFor();
    await page.getByText('missed 2').waitFor();
    await page.getByText('back, with 2 missed').waitFor();
    for (const content of ['missed 1', 'missed 2'])
      await page.locator('li', { hasText: content }).getByText('replayed').waitFor();
    await insert('not missed');
    const onTime = page.locator('section[aria-labelledby=messages] li', { hasText: 'not missed' });
    await onTime.waitFor();
    expect(await onTime.getByText('replayed').count()).toBe(0);
    await screenshot(page, 'caught-up');
  });

  test('a row too large for a frame is fetched; what is about no table is shown as it is', async () => {
    const page = await live(await open());
    const id = await insert('small');
    await page.getByText('small', { exact: true }).waitFor();
    await database.query(
      `update messages set content = 'large ' || repeat('x', 40000) where id = $1`,
      [id],
    );
    await page.getByText(/^large xxx/).waitFor();
    await database.query(
      `select rowcast.broadcast('PING_MESSAGE', 'null'), rowcast.broadcast('SYSTEM_MESSAGE', '{}')`,
    );
    const direct = page.locator('section[aria-labelledby=direct] li');
    await direct.getByText('PING_MESSAGE').waitFor();
    await direct.getByText('SYSTEM_MESSAGE').waitFor();
  });

  test('an edit saves what was changed in it and nothing else, and says what changed meanwhile', async () => {
    const page = await live(await open());
    const id = await insert('line 1\nline 2');
    const row = page.locator(`section[aria-labelledby=messages] li[data-key="${id}"]`);
    await row.getByRole('button', { name: /Edit/ }).click();
    await database.query(`update messages set content = 'by another' where id = $1`, [id]);
    await row.getByText('Changed meanwhile: content').waitFor();
    await row.getByLabel('status').fill('read');
    await page.keyboard.press('Enter');
    await row.getByText('read', { exact: true }).waitFor();
    await row.getByText('by another').waitFor();
    expect(
      (await database.query('select sender, content, status from messages where id = $1', [id]))
        .rows,
    ).toEqual([{ sender: null, content: 'by another', status: 'read' }]);
    await expect
      .poll(() => page.evaluate('document.activeElement?.getAttribute("aria-label")'))
      .toBe(`Edit row ${id}`);
    await row.getByRole('button', { name: /Edit/ }).click();
    await row.getByLabel('sender').fill('half typed');
    await database.query('delete from messages where id = $1', [id]);
    await row.getByText('Deleted meanwhile').waitFor();
    expect(await row.getByLabel('sender').inputValue()).toBe('half typed');
    await page.keyboard.press('Escape');
    await row.waitFor({ state: 'detached' });
  });

  test('a table that is watched meanwhile appears, with its own columns and key', async () => {
    await database.query(`
      create table shelves (
        hall text, place bigint, label varchar(40) not null, tags text[], primary key (hall, place))`);
    const page = await live(await open());
    await database.query(`select rowcast.watch('shelves', entity => 'SHELF')`);
    await database.query(`insert into shelves values ('east', 7, 'atlases', '{maps}')`);
    const panel = page.locator('section[aria-labelledby=shelves]');
    const row = panel.locator('li[data-key="east, 7"]');
    await row.getByText('["maps"]').waitFor();
    await panel.getByLabel('hall').fill('west');
    await panel.getByLabel('place').fill('8');
    await panel.getByLabel('label').fill('globes');
    await panel.getByRole('button', { name: 'Insert' }).click();
    await panel.locator('li', { hasText: 'globes' }).waitFor();
    await row.getByRole('button', { name: 'Edit row east, 7' }).click();
    await row.getByLabel('label').fill('old atlases');
    await page.keyboard.press('Enter');
    await row.getByText('old atlases').waitFor();
    await row.getByRole('button', { name: 'Delete row east, 7' }).click();
    await row.waitFor({ state: 'detached' });
    await screenshot(page, 'any-table');
    await page.getByRole('button', { name: 'shelves', exact: true }).press('Enter');
    await panel.waitFor({ state: 'detached' });
    await database.query('drop table shelves');
  });

  test('a row leads to its trace, and each frame is there as it came', async () => {
    const page = await live(await open());
    await insert('to be traced');
    const row = page.locator('li', { hasText: 'to be traced' });
    await row.getByRole('button', { name: /^Trace/ }).press('Enter');
    const dialog = page.getByRole('dialog');
    await dialog.getByText(/of alice, by all: .* delivered in \d+ ms/s).waitFor();
    await screenshot(page, 'trace');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    const frame = page.locator('section[aria-labelledby=frames] li').first();
    await frame.locator('summary').press('Enter');
    await frame.getByText('"content": "to be traced"').waitFor();
    await frame.getByRole('button', { name: /^Trace event/ }).click();
    await dialog.getByText('NEW_MESSAGE').waitFor();
  });

  test('the line for psql is copied', async () => {
    const page = await live(await open());
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.getByRole('button', { name: 'Copy' }).click();
    await page.getByRole('button', { name: 'Copied' }).waitFor();
    expect(await page.evaluate('navigator.clipboard.readText()')).toMatch(/^psql postgres:.*hello/);
  });

  test('older rows take the places of those that are deleted', async () => {
    await database.query(
      `insert into complaints (title) select 'complaint ' || n from generate_series(1, 150) n`,
    );
    const page = await live(await open());
    const list = page.locator('section[aria-labelledby=complaints]');
    await list.getByText('last 100').waitFor();
    await database.query(`delete from complaints where id > (select min(id) + 49 from complaints)`);
    await list.getByText('complaint 50', { exact: true }).waitFor();
    await expect.poll(() => list.locator('li').count()).toBe(50);
    await database.query('truncate complaints');
    await expect.poll(() => list.locator('li').count()).toBe(0);
  });

  test('a relay that was killed is a pause', async () => {
    const page = await live(await open());
    const { pid } = (await (await fetch(`${urls.healthUrl}/healthz`)).json()) as { pid: number };
    process.kill(pid, 'SIGKILL');
    await insert('while the relay was dead');
    await page.getByText('while the relay was dead').waitFor();
  });

  const token = (seconds: number) =>
    new SignJWT()
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject('alice')
      .setExpirationTime(Math.floor(Date.now() / 1000) + seconds)
      .sign(new TextEncoder().encode(JWT_SECRET));

  test('a token that is refused is said, and the next good one lets it in', async () => {
    const page = await open('alice', (tab) =>
      tab.route('**/api/token', (route) => route.fulfill({ body: 'a.bad.token' })),
    );
    await shows(page, 'Refused');
    await page.getByText('does not let this page in (401)').waitFor();
    await screenshot(page, 'refused');
    await page.unroute('**/api/token');
    await live(page);
  });

  test('when its token expires the page comes back with a new one, and misses nothing', async () => {
    const tokens = [await token(3)];
    let fetched = 0;
    const page = await open('alice', (tab) =>
      tab.route('**/api/token', async (route) => {
        fetched++;
        await route.fulfill({ body: tokens.shift() ?? (await token(600)) });
      }),
    );
    await live(page);
    const sent: string[] = [];
    while (fetched < 2) {
      sent.push(`row ${sent.length} of the expiry`);
      await insert(sent.at(-1) as string);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await live(page);
    for (const content of sent) await page.getByText(content, { exact: true }).waitFor();
  });

  test('without a network it says so, and is back with it', async () => {
    const page = await live(await open());
    await page.context().setOffline(true);
    await shows(page, 'Offline');
    await insert('while offline');
    await screenshot(page, 'offline');
    await page.context().setOffline(false);
    await live(page);
    await page.getByText('while offline').waitFor();
  });

  test('the page fits a small screen, and is dark where that is wanted', async () => {
    const page = await live(await open());
    await page.setViewportSize({ width: 390, height: 844 });
    await page.emulateMedia({ colorScheme: 'dark' });
    await insert('in the dark');
    await page.getByText('in the dark').waitFor();
    await screenshot(page, 'small-dark');
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(390);
    expect(await page.evaluate('getComputedStyle(document.documentElement).backgroundColor')).toBe(
      'rgb(16, 19, 22)',
    );
  });
});
