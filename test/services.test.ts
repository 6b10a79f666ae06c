import { pino } from 'pino';
import { Registry } from 'prom-client';
import { expect, onTestFinished, test } from 'vitest';
import { ConnectionDirectory } from '../src/connections/connection-directory.ts';
import { ScanFeed } from '../src/connections/scan-feed.ts';
import { SelfCheck } from '../src/daemon/self-check.ts';
import { NotificationListener } from '../src/listener/notification-listener.ts';
import { LocalGateway } from '../src/local/gateway.ts';
import { PageServer } from '../src/local/page-server.ts';
import { CaptureCheck } from '../src/postgres/capture-check.ts';
import type { Service } from '../src/service.ts';
import { EmfReporter } from '../src/telemetry/emf.ts';
import { HttpService } from '../src/telemetry/http-service.ts';
import { TestDatabase } from './support/postgres/database.ts';
import { World } from './support/world.ts';

const log = pino({ level: 'silent' });
const ok = async () => ({ statusCode: 200 });

async function database() {
  const made = await TestDatabase.create();
  onTestFinished(() => made.close());
  return { connectionString: made.url };
}

/** Each service, made anew; what it needs outlives it. */
const SERVICES: Readonly<Record<string, () => Promise<Service>>> = {
  relay: async () => (await World.start()).makeRelay(),
  'connection feed': async () => {
    const { table } = await World.start();
    return new ScanFeed({ ...table, refreshIntervalMs: 50, sink: new ConnectionDirectory(), log });
  },
  'page server': async () => {
    const { connectionString: databaseUrl } = await database();
    const auth = { mode: 'none' } as const;
    const connections = { list: async () => [], onChange: () => () => undefined };
    const trace = async () => '';
    const websocketUrl = 'ws://127.0.0.1:1/';
    return new PageServer({ port: 0, websocketUrl, databaseUrl, auth, trace, connections });
  },
  'notification listener': async () =>
    new NotificationListener({ database: await database(), applicationName: 'services', log }),
  'capture check': async () => new CaptureCheck({ database: await database(), log }),
  'self-check': async () => new SelfCheck({ nothing: async () => null }, log),
  'EMF reporter': async () =>
    new EmfReporter({ registry: new Registry(), namespace: 'Test', print: () => undefined }),
  'HTTP service': async () => new HttpService({ port: 0, paths: '/', answer: async () => null }),
  'local gateway': async () => new LocalGateway({ stage: 's', connect: ok, disconnect: ok }),
};

test.each(Object.entries(SERVICES))(
  'a %s starts once and stops once, however often it is asked',
  async (_, make) => {
    const service = await make();
    await Promise.all([service.start(), service.start()]);
    await service.start();
    await Promise.all([service.stop(), service.stop()]);
    await service.stop();
  },
);

test.each(Object.entries(SERVICES))(
  'a %s that is stopped while it starts stops, and its start ends',
  async (_, make) => {
    const service = await make();
    const starting = service.start();
    await service.stop();
    await starting;
  },
);

test.each(Object.entries(SERVICES))(
  'a %s that was stopped before it started never starts',
  async (name, make) => {
    const service = await make();
    await service.stop();
    await service.start();
    if (name === 'relay') expect(service).toMatchObject({ role: 'stopped' });
    if (name === 'notification listener') expect(service).toMatchObject({ listening: false });
    await service.stop();
  },
);
