import { existsSync } from 'node:fs';
import pg from 'pg';
import { type Browser, chromium, type Page } from 'playwright-core';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type Examples, startExamples } from '../api/start.ts';

const CHROMIUM = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium';
const PAGES = ['plain', 'react', 'react-query', 'tanstack-db', 'server-rendered'];

let examples: Examples;
let browser: Browser;
let database: pg.Client;

describe.skipIf(!existsSync(CHROMIUM))('the page', () => {
  beforeAll(async () => {
    examples = await startExamples({ port: 0 });
    database = new pg.Client(examples.databaseUrl);
    await database.connect();
    browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
    });
    return async () => {
      await Promise.all([browser.close(), database.end()]);
      await examples.stop();
    };
  });

  async function open(name: string): Promise<{ page: Page; errors: string[]; fetches: string[] }> {
    const context = await browser.newContext();
    onTestFinished(() => context.close());
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    const errors: string[] = [];
    const fetches: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    page.on('request', (request) => fetches.push(new URL(request.url()).pathname));
    await page.goto(`${examples.url}${name}/`);
    return { page, errors, fetches };
  }

  const insert = (item: string) =>
    database.query('insert into orders (customer_id, item) values (7, $1)', [item]);

  const row = (page: Page, text: string) => page.getByRole('listitem').filter({ hasText: text });

  test.each(PAGES)('%s shows the table as it is, and follows it', async (name) => {
    await insert(`${name}, early`);
    const { page, errors } = await open(name);
    await row(page, `${name}, early: open`).waitFor();
    await insert(`${name}, late`);
    await database.query(`insert into orders (customer_id, item) values (8, 'of another')`);
    await row(page, `${name}, late: open`).waitFor();
    await database.query(`update orders set status = 'sent' where item = $1`, [`${name}, early`]);
    await row(page, `${name}, early: sent`).waitFor();
    await database.query('delete from orders where item = $1', [`${name}, late`]);
    await row(page, `${name}, late: open`).waitFor({ state: 'detached' });
    const shown = await page.locator('li').allTextContents();
    const { rows } = await database.query<{ text: string }>(
      `select item || ': ' || status as text from orders where customer_id = 7 order by id`,
    );
    expect(shown).toEqual(rows.map(({ text }) => text));
    expect(errors).toEqual([]);
  });

  test.each(PAGES.slice(0, -1))('%s shows an order of its own once', async (name) => {
    const { page } = await open(name);
    await page.getByLabel('Item').fill(`from ${name}`);
    await page.getByRole('button', { name: 'Order' }).click();
    await row(page, `from ${name}: open`).waitFor();
    await expect.poll(() => page.locator('li', { hasText: `from ${name}` }).count()).toBe(1);
    if (name === 'react') await page.getByText('Confirmed: from react').waitFor();
  });

  test('that a server rendered goes on from there, and fetches no list', async () => {
    const { page, fetches } = await open('server-rendered');
    await insert('after the rendering');
    await row(page, 'after the rendering: open').waitFor();
    expect(fetches).toContain('/api/token');
    expect(fetches).not.toContain('/api/orders');
  });
});
