import { SignJWT } from 'jose';
import { createElement, StrictMode } from 'react';
import { createRoot, type Root } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { WebSocket } from 'undici';
import { expect, onTestFinished, test } from 'vitest';
import type { Message } from '../../src/client/connect.ts';
import {
  RowcastProvider,
  type RowcastProviderProps,
  type RowcastState,
  useRowcast,
} from '../../src/react/react.ts';
import { openDocument } from '../support/client/dom.ts';
import { World } from '../support/world.ts';

const secret = new TextEncoder().encode('a secret that is long enough for HS256');
const auth = { mode: 'jwt' as const, key: { secret }, rolesClaim: 'roles', roomsClaim: 'rooms' };

async function start(options: Parameters<typeof World.start>[0] = {}) {
  const world = await World.start(options);
  await world.relay();
  let connections = 0;
  world.gateway.on('connected', () => connections++);
  const document = openDocument('<div id="root"></div>');
  const root = createRoot(document.querySelector('#root') as never, {
    onUncaughtError: (error) => errors.push(error),
  });
  onTestFinished(() => root.unmount());
  const errors: unknown[] = [];
  return { world, document, root, errors, connections: () => connections };
}

/** Components that show their state, keep what they have heard, and may be several. */
function listener() {
  const states: RowcastState[] = [];
  const heard: Message[] = [];
  const Listener = ({ label = '' }: { label?: string }) => {
    const state = useRowcast({
      onMessage: (message) => heard.push({ ...message, data: `${label}${message.data}` }),
    });
    states.push(state);
    return createElement('p', null, state.status);
  };
  return { states, heard, Listener };
}

function render(root: Root, props: RowcastProviderProps, ...children: React.ReactNode[]): void {
  root.render(
    createElement(
      StrictMode,
      null,
      createElement(RowcastProvider<Record<string, unknown>>, { WebSocket, ...props }, ...children),
    ),
  );
}

test('all components share one socket, under StrictMode too, and each hears each message', async () => {
  const { world, document, root, connections } = await start();
  const { states, heard, Listener } = listener();
  render(
    root,
    { url: world.gateway.websocketUrl },
    createElement(Listener, { key: 1 }),
    createElement(Listener, { key: 2 }),
  );
  const shown = () => [...document.querySelectorAll('p')].map(({ textContent }) => textContent);
  await expect.poll(shown).toEqual(['live', 'live']);
  expect(states[0]).toEqual({
    status: 'connecting',
    isConnected: false,
    lastMessage: null,
    lastUpdate: null,
    recovered: null,
    error: null,
    reconnect: expect.any(Function),
  });
  await world.sql(
    `select rowcast.broadcast('one', '1'), rowcast.broadcast('two', '2'), rowcast.broadcast('three', '3')`,
  );
  await expect
    .poll(() => heard.map(({ type }) => type).sort())
    .toEqual(['one', 'one', 'three', 'three', 'two', 'two']);
  await expect
    .poll(() => states.at(-1))
    .toMatchObject({
      status: 'live',
      isConnected: true,
      recovered: true,
      lastMessage: { type: 'three' },
      lastUpdate: expect.any(Number),
    });
  expect(connections()).toBe(1);
  root.unmount();
  await expect.poll(() => world.gateway.connections.size).toBe(0);
});

test('components come and go on the same socket; the latest callbacks are called', async () => {
  const { world, document, root, connections } = await start();
  const { heard, Listener } = listener();
  const show = (label: string) =>
    render(root, { url: world.gateway.websocketUrl }, createElement(Listener, { key: 1, label }));
  show('first ');
  await expect.poll(() => document.querySelector('p')?.textContent).toBe('live');
  show('second ');
  await world.sql(`select rowcast.broadcast('a', '1')`);
  await expect.poll(() => heard.at(-1)?.data).toBe('second 1');
  render(root, { url: world.gateway.websocketUrl });
  await expect.poll(() => document.querySelector('p')).toBeNull();
  show('third ');
  await expect.poll(() => document.querySelector('p')?.textContent).toBe('live');
  expect(connections()).toBe(1);
});

test('other rooms are joined on the same socket, and new arrays of the same ask for nothing', async () => {
  const { world, document, root, connections } = await start();
  const { heard, Listener } = listener();
  const show = (rooms: string[]) =>
    render(root, { url: world.gateway.websocketUrl, rooms }, createElement(Listener, { key: 1 }));
  const live = () => expect.poll(() => document.querySelector('p')?.textContent).toBe('live');
  show(['lobby']);
  await live();
  show(['lobby']);
  await world.sql(`select rowcast.send_to_room('lobby', 'a', '1')`);
  await expect.poll(() => heard.length).toBe(1);
  expect(connections()).toBe(1);
  show(['office']);
  const wanted = async () => (await world.table.items())[0]?.wanted;
  await expect.poll(wanted).toBe('office');
  await world.sql(`select rowcast.send_to_room('office', 'b', '2')`);
  await expect.poll(() => heard.at(-1)?.type).toBe('b');
  expect(connections()).toBe(1);
  await live();
});

test('a component that comes late is told of READY as its first, and a token that comes later is used', async () => {
  const { world, document, root } = await start({ auth });
  const readies: boolean[] = [];
  const Late = () => {
    useRowcast({ onReady: ({ first }) => readies.push(first) });
    return null;
  };
  const { Listener } = listener();
  const props = { url: world.gateway.websocketUrl, refusedDelayMs: 50 };
  const shown = () => document.querySelector('p')?.textContent;
  render(root, props, createElement(Listener, { key: 1 }));
  await expect.poll(shown).toBe('refused');
  const token = new SignJWT()
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('bob')
    .setExpirationTime('1h');
  const signed = { ...props, getToken: () => token.sign(secret) };
  render(root, signed, createElement(Listener, { key: 1 }));
  await expect.poll(shown).toBe('live');
  // Another type of component in its place: Late is mounted now.
  render(root, signed, createElement(Listener, { key: 1 }), createElement(Late, { key: 2 }));
  await expect.poll(() => readies).not.toEqual([]);
  expect(readies.every(Boolean)).toBe(true);
  world.cut();
  await expect.poll(() => readies.at(-1)).toBe(false);
});

test('on a server nothing is connected, and what is rendered says that it is not live', () => {
  const { Listener } = listener();
  const html = renderToString(
    createElement(
      RowcastProvider<Record<string, unknown>>,
      { url: 'wss://host/stage' },
      createElement(Listener),
    ),
  );
  expect(html).toBe('<p>connecting</p>');
});

test('without a provider the hook says what is missing', async () => {
  const { root, errors } = await start();
  root.render(createElement(listener().Listener));
  await expect.poll(() => String(errors[0])).toContain('no <RowcastProvider> above');
});
