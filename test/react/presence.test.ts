import { createElement, StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { RowcastProvider, usePresence } from '../../src/react/react.ts';
import { openDocument } from '../support/client/dom.ts';
import { World } from '../support/world.ts';

function Present({ room }: { room: string }) {
  const { users, count } = usePresence(room);
  return createElement('p', null, `${count} in ${room}: ${[...users.keys()].sort()}`);
}

test('a component shows who is in a room, and in the next, under StrictMode too', async () => {
  const world = await World.start();
  await world.sql(`select rowcast.watch_presence('room:*')`);
  await world.relay();
  const document = openDocument('<div id="root"></div>');
  const root = createRoot(document.querySelector('#root') as never);
  onTestFinished(() => root.unmount());
  const url = `${world.gateway.websocketUrl}?userId=ann`;
  const page = (room: string) =>
    createElement(
      StrictMode,
      null,
      createElement(
        RowcastProvider<Record<string, unknown>>,
        { url, rooms: [room], WebSocket: WebSocket as never },
        createElement(Present, { room }),
      ),
    );
  const text = () => document.querySelector('p')?.textContent;
  expect(renderToString(page('red'))).toBe('<p>0 in red: </p>');
  root.render(page('red'));
  await expect.poll(text).toBe('1 in red: ann');
  await world.live({ userId: 'bob', rooms: 'red' });
  await expect.poll(text).toBe('2 in red: ann,bob');
  root.render(page('blue'));
  await expect.poll(text).toBe('1 in blue: ann');
  expect(world.gateway.connections.size).toBe(2);
});

test('outside of a provider the hook says so', () => {
  expect(() => renderToString(createElement(Present, { room: 'red' }))).toThrow(
    'usePresence: there is no <RowcastProvider> above this component',
  );
});
