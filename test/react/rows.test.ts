import { Activity, type ActivityProps, createElement, StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { renderToString } from 'react-dom/server';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import {
  RowcastProvider,
  type RowsState,
  type UseRowsOptions,
  useRowcast,
  useRows,
} from '../../src/react/react.ts';
import { openDocument } from '../support/client/dom.ts';
import { World } from '../support/world.ts';

interface Message {
  id: number;
  content: string;
}

async function start() {
  const world = await World.start();
  await world.relay();
  const document = openDocument('<div id="root"></div>');
  const root = createRoot(document.querySelector('#root') as never);
  onTestFinished(() => root.unmount());
  let fetches = 0;
  const fetch = async () => {
    fetches++;
    const [page] = await world.sql<{ rows: Message[]; cursor: string }>(
      `select coalesce(json_agg(m), '[]') as rows, rowcast.snapshot() as cursor from messages m`,
    );
    return page as { rows: Message[]; cursor: string };
  };
  const options: UseRowsOptions<Message> = { entity: 'MESSAGE', fetch };
  const show = (...children: React.ReactNode[]) =>
    root.render(
      createElement(
        StrictMode,
        null,
        createElement(
          RowcastProvider<Record<string, unknown>>,
          { url: world.gateway.websocketUrl, WebSocket: WebSocket as never },
          ...children,
        ),
      ),
    );
  const insert = (content: string) =>
    world.sql('insert into messages (content) values ($1)', [content]);
  const text = (selector: string) => document.querySelector(selector)?.textContent;
  return { world, root, options, show, insert, text, fetches: () => fetches };
}

const Contents = ({ options }: { options: UseRowsOptions<Message> }) => {
  const { rows, status } = useRows(options);
  return createElement('p', null, `${status}: ${rows.map(({ content }) => content)}`);
};

test('a component shows a table, live, from one socket and few fetches, under StrictMode too', async () => {
  const { world, root, options, show, insert, text, fetches } = await start();
  await insert('before');
  show(createElement(Contents, { options, key: 1 }));
  await expect.poll(() => text('p')).toBe('live: before');
  await insert('after');
  await expect.poll(() => text('p')).toBe('live: before,after');
  world.cut();
  await world.sql(`update messages set content = 'meanwhile' where content = 'before'`);
  await expect.poll(() => text('p')).toBe('live: meanwhile,after');
  expect(fetches()).toBeLessThanOrEqual(2);
  expect(world.gateway.connections.size).toBe(1);
  root.unmount();
  await expect.poll(() => world.gateway.connections.size).toBe(0);
});

test('a badge is rendered when the status changes, and not for each of sixty messages', async () => {
  const { options, show, insert, text } = await start();
  const statuses: string[] = [];
  const counts: number[] = [];
  const Badge = () => {
    const status = useRowcast({}, (state) => state.status);
    statuses.push(status);
    return createElement('b', null, status);
  };
  const Count = () => {
    const count = useRows(
      options,
      ({ rows }) => rows.filter(({ content }) => content === 'odd').length,
    );
    counts.push(count);
    return createElement('i', null, count);
  };
  const Loud = () => createElement('u', null, useRowcast().lastUpdate);
  show(
    createElement(Badge, { key: 1 }),
    createElement(Count, { key: 2 }),
    createElement(Loud, { key: 3 }),
    createElement(Contents, { options, key: 4 }),
  );
  await expect.poll(() => text('p')).toBe('live: ');
  await expect.poll(() => text('b')).toBe('live');
  const renderings = statuses.length;
  for (let n = 0; n < 60; n++) await insert(n === 30 ? 'odd' : 'even');
  await expect.poll(() => text('p')?.split(',').length).toBe(60);
  await expect.poll(() => text('i')).toBe('1');
  expect(statuses.length).toBe(renderings);
  // StrictMode renders twice.
  expect(counts.filter((count) => count === 1).length).toBeLessThanOrEqual(2);
});

test('another listKey is another list, with what fetch is then; a selection may make new values', async () => {
  const { options, show, insert, text, world } = await start();
  await insert('a');
  let choose: (content: string) => void = () => undefined;
  const Chosen = () => {
    const [content, setContent] = useState('a');
    choose = setContent;
    const contents = useRows<Message, string[]>(
      {
        ...options,
        listKey: content,
        where: (row) => row.content === content,
      },
      ({ rows }: RowsState<Message>) => rows.map((row) => row.content),
    );
    return createElement('p', null, contents.join());
  };
  show(createElement(Chosen, { key: 1 }));
  await expect.poll(() => text('p')).toBe('a');
  await world.sql(`insert into messages (content) values ('b'), ('b'), ('a')`);
  await expect.poll(() => text('p')).toBe('a,a');
  choose('b');
  await expect.poll(() => text('p')).toBe('b,b');
});

test('a page that a server rendered goes on from its cursor, and fetches nothing', async () => {
  const { world, root, options, insert, text, fetches } = await start();
  await insert('rendered');
  const initial = await options.fetch({ signal: AbortSignal.abort() });
  await insert('since');
  const provider = {
    url: world.gateway.websocketUrl,
    WebSocket: WebSocket as never,
    cursor: (initial as { cursor: string }).cursor,
  };
  root.render(
    createElement(
      StrictMode,
      null,
      createElement(
        RowcastProvider<Record<string, unknown>>,
        provider,
        createElement(Contents, { options: { ...options, initial }, key: 1 }),
      ),
    ),
  );
  await expect.poll(() => text('p')).toBe('live: rendered,since');
  expect(fetches()).toBe(1);
});

test('a component that was hidden for a while shows what it showed last, and not what a server had rendered', async () => {
  const { world, options, show, insert, text } = await start();
  await insert('rendered');
  const initial = await options.fetch({ signal: AbortSignal.abort() });
  await world.sql(`update messages set content = 'changed'`);
  const shown: (string | undefined)[] = [];
  const Recorded = () => {
    const { rows, status } = useRows({ ...options, initial });
    shown.push(rows.map(({ content }) => content).join());
    return createElement('p', null, status);
  };
  let setMode: (mode: 'hidden' | 'visible') => void = () => undefined;
  const Page = () => {
    const [mode, set] = useState<'hidden' | 'visible'>('visible');
    setMode = set;
    return createElement(Activity, { mode } as ActivityProps, createElement(Recorded));
  };
  show(createElement(Page, { key: 1 }));
  await expect.poll(() => shown.at(-1)).toBe('changed');
  setMode('hidden');
  await expect.poll(() => world.gateway.connections.size).toBe(1);
  await new Promise((closed) => setTimeout(closed));
  await world.sql(`update messages set content = 'meanwhile'`);
  const before = shown.length;
  setMode('visible');
  await expect.poll(() => [text('p'), shown.at(-1)]).toEqual(['live', 'meanwhile']);
  expect(shown.slice(before)).not.toContain('rendered');
});

test('other rooms are joined on the socket that is there, and its lists go on', async () => {
  const { world, root, options } = await start();
  await world.sql(`select rowcast.watch('messages', 'MESSAGE', '{room:team,room:lobby}')`);
  let move: (rooms: string[]) => void = () => undefined;
  const shown: string[] = [];
  const Shown = () => {
    const { rows, status } = useRows(options);
    shown.push(`${status}: ${rows.map(({ content }) => content)}`);
    return null;
  };
  const Page = () => {
    const [rooms, setRooms] = useState<string[]>([]);
    move = setRooms;
    return createElement(
      RowcastProvider<Record<string, unknown>>,
      { url: world.gateway.websocketUrl, WebSocket: WebSocket as never, rooms },
      createElement(Shown),
    );
  };
  root.render(createElement(StrictMode, null, createElement(Page)));
  await expect.poll(() => shown.at(-1)).toBe('live: ');
  const [connection] = world.gateway.connections.keys();
  move(['lobby']);
  const granted = async () => (await world.table.items())[0]?.wanted;
  await expect.poll(granted).toBe('lobby');
  await world.sql(`insert into messages (content) values ('hello')`);
  await expect.poll(() => shown.at(-1)).toBe('live: hello');
  expect([...world.gateway.connections.keys()]).toEqual([connection]);
  expect(shown.filter((each) => each.startsWith('loading')).length).toBeLessThanOrEqual(
    shown.findIndex((each) => each.startsWith('live')),
  );
});

test('a server renders the rows that it was given, and a hook without a provider says what is missing', async () => {
  const { options } = await start();
  const initial = { rows: [{ id: 1, content: 'rendered' }], cursor: '1.00000000' };
  const page = createElement(
    RowcastProvider<Record<string, unknown>>,
    { url: 'wss://host/stage' },
    createElement(Contents, { options: { ...options, initial }, key: 1 }),
  );
  expect(renderToString(page)).toBe('<p>stale: rendered</p>');
  expect(() => renderToString(createElement(Contents, { options }))).toThrow(
    'useRows: there is no <RowcastProvider> above this component',
  );
});
