import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ScanCommand } from '@aws-sdk/client-dynamodb';
import type { Page } from 'playwright-core';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { DevUrls } from '../../src/local/dev-folder.ts';
import { dynamoDbClient } from '../../src/local/dynamodb.ts';
import { browserPath, launchBrowser } from '../support/client/browser.ts';
import { startDev } from '../support/process/dev.ts';
import { temporaryFolder } from '../support/process/temporary-folder.ts';

const SITE = 'evil.test';

/** By attempt, the loot of a web site's page; null for nothing. */
type Loot = Record<string, string | null>;

interface Target {
  readonly urls: DevUrls;
  /** Another's, which the page could have guessed. */
  readonly connectionId: string;
}

/** As much of a document as the attack uses. */
interface Dom {
  createElement(name: 'script'): { onload: () => void; onerror: () => void; src: string };
  readonly body: { append(element: unknown): void };
}

/** Runs in the page: each attempt that the browser itself lets a page of any site make. */
async function attack({ urls, connectionId }: Target): Promise<Loot> {
  const { document } = globalThis as unknown as { document: Dom };
  const loot: Loot = {};
  const attempt = async (name: string, work: () => Promise<string | null>) => {
    loot[name] = await work().catch(() => null);
  };
  const read = (url: string, init?: RequestInit) => () =>
    fetch(url, init).then(async (answer) => (await answer.text()) || String(answer.status));
  /** Sent without being readable: what counts is what it did. */
  const send = (url: string, init: RequestInit) => () =>
    fetch(url, { ...init, mode: 'no-cors' }).then(() => null);
  const forged = '{"id":"99999999","type":"NEW_MESSAGE","data":{"id":1,"content":"forged"}}';
  const dynamodb = (operation: string, body: object) => ({
    method: 'POST',
    headers: {
      'x-amz-target': `DynamoDB_20120810.${operation}`,
      'content-type': 'application/x-amz-json-1.0',
      authorization: `AWS4-HMAC-SHA256 Credential=x/20261125/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=x`,
    },
    body: JSON.stringify(body),
  });
  const socket = (url: string) => () =>
    new Promise<string | null>((resolve) => {
      const opened = new WebSocket(url);
      opened.onopen = () => resolve('open');
      opened.onerror = () => resolve(null);
    });
  /** A JWT is an expression of JavaScript: a page that may run it as a script could read it. */
  const script = (url: string) => () =>
    new Promise<string | null>((resolve) => {
      const element = Object.assign(document.createElement('script'), { src: url });
      element.onload = () => resolve('it ran');
      element.onerror = () => resolve(null);
      document.body.append(element);
    });
  await attempt('rows', read(`${urls.pageUrl}api/rows/messages`));
  await attempt('settings', read(`${urls.pageUrl}api/config`));
  await attempt('token', script(`${urls.pageUrl}api/token?userId=admin&roles=admin`));
  await attempt('token by POST', read(`${urls.pageUrl}api/token`, { method: 'POST', body: '{}' }));
  for (const type of ['text/plain', 'application/json'])
    await attempt(
      `a row as ${type}`,
      send(`${urls.pageUrl}api/rows/messages`, {
        method: 'POST',
        headers: { 'content-type': type },
        body: '{"content":"forged"}',
      }),
    );
  await attempt('knowledge', read(`${urls.inspectUrl}/status`));
  await attempt('metrics', read(`${urls.healthUrl}/metrics`));
  await attempt('socket', socket(`${urls.websocketUrl}?userId=admin`));
  await attempt('table', read(urls.dynamodbEndpoint, dynamodb('ListTables', {})));
  for (const mode of ['cors', 'no-cors'] as const)
    await attempt(`a frame, ${mode}`, () =>
      fetch(`${urls.managementUrl}/@connections/${encodeURIComponent(connectionId)}`, {
        method: 'POST',
        mode,
        body: forged,
      }).then(() => null),
    );
  return loot;
}

describe.skipIf(!browserPath)('a page of another site, in a browser on this machine', () => {
  test.each([
    ['by another name', (port: number) => `http://${SITE}:${port}/`],
    ['by a name that it leads to this machine (DNS rebinding)', null],
  ])('%s: reads nothing of rowcast dev, and changes nothing in it', async (_, address) => {
    const dir = await temporaryFolder('hostile');
    const system = startDev(dir, ['--port', '0']);
    const [browser, urls] = await Promise.all([
      launchBrowser(`--host-resolver-rules=MAP ${SITE} 127.0.0.1`),
      system.ready(),
    ]);
    const site = createServer((_, response) =>
      response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><body>'),
    ).listen(0, '127.0.0.1');
    await once(site, 'listening');
    onTestFinished(async () => {
      site.close();
      await browser.close();
      await system.stop();
      await rm(dir, { recursive: true, force: true });
    });
    const context = await browser.newContext();
    const own = await context.newPage();
    await own.goto(urls.pageUrl);
    await own.locator('.sign', { hasText: /^Live$/ }).waitFor();
    const connectionId = await idOf(urls);

    const page = await context.newPage();
    if (address) {
      await page.goto(address((site.address() as AddressInfo).port));
      expect(await page.evaluate(attack, { urls, connectionId })).toEqual(nothing());
    } else {
      const rebound = JSON.parse(JSON.stringify(urls).replaceAll('127.0.0.1', SITE)) as DevUrls;
      const answer = await page.goto(rebound.pageUrl);
      expect(answer?.status()).toBe(403);
      expect(await page.evaluate(attack, { urls: rebound, connectionId })).toMatchObject({
        rows: REFUSED,
        token: null,
      });
    }
    await expectUntouched(own);
  });
});

const REFUSED = expect.stringMatching(/^this is (for|not for)/);

function nothing(): Loot {
  return {
    rows: null,
    settings: null,
    token: null,
    'token by POST': null,
    'a row as text/plain': null,
    'a row as application/json': null,
    knowledge: null,
    metrics: null,
    socket: null,
    table: null,
    'a frame, cors': null,
    'a frame, no-cors': null,
  };
}

/** The connection of the page of rowcast dev. */
async function idOf({ dynamodbEndpoint }: DevUrls): Promise<string> {
  const client = dynamoDbClient(dynamodbEndpoint);
  const { Items = [] } = await client.send(new ScanCommand({ TableName: 'websocket_connections' }));
  client.destroy();
  expect(Items).toHaveLength(1);
  return Items[0]?.connectionId?.S as string;
}

/** The next row of the page's own is the first that it shows. */
async function expectUntouched(own: Page): Promise<void> {
  await own.evaluate(() =>
    fetch('/api/rows/messages', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"content":"a row of mine"}',
    }),
  );
  await own.getByText('a row of mine').first().waitFor();
  expect(await own.content()).not.toContain('forged');
}
