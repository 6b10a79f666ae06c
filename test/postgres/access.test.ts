import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { generate } from 'selfsigned';
import { expect, onTestFinished, test } from 'vitest';
import { loadConfig } from '../../src/daemon/config.ts';
import { LocalPostgres } from '../../src/local/postgres.ts';
import { databaseAccess } from '../../src/postgres/access.ts';
import { temporaryFolder } from '../support/process/temporary-folder.ts';
import { startSecretsManager } from '../support/secrets-manager.ts';
import { World } from '../support/world.ts';

const SETTINGS = {
  WEBSOCKET_ENDPOINT: 'https://abc.execute-api.eu-west-1.amazonaws.com/prod',
  AWS_REGION: 'eu-west-1',
};
const access = (env: Record<string, string>) =>
  databaseAccess(loadConfig({ ...SETTINGS, ...env }).database);

/** Whether the connection that these settings make is encrypted. */
async function encrypted(databaseUrl: string): Promise<boolean> {
  const client = new pg.Client((await access({ DATABASE_URL: databaseUrl })).client);
  await client.connect();
  const { rows } = await client.query<{ ssl: boolean }>(
    'select ssl from pg_stat_ssl where pid = pg_backend_pid()',
  );
  await client.end();
  return rows[0]?.ssl === true;
}

test('TLS is as sslmode says, and a certificate of nobody we know is refused', async () => {
  const folder = await temporaryFolder('tls');
  const postgres = await LocalPostgres.start({
    dataDir: join(folder, 'data'),
    logFile: join(folder, 'log'),
  });
  onTestFinished(async () => {
    await postgres.stop();
    await rm(folder, { recursive: true, force: true });
  });
  const url = postgres.url('postgres');
  expect(await encrypted(url)).toBe(false);
  const authority = join(folder, 'authority.pem');
  await writeFile(authority, await useCertificate(url));
  await expect(encrypted(`${url}?sslmode=verify-full`)).rejects.toThrow('self-signed certificate');
  await expect(encrypted(`${url}?sslmode=require`)).rejects.toThrow('self-signed certificate');
  expect(await encrypted(`${url}?sslmode=verify-full&sslrootcert=${authority}`)).toBe(true);
  expect(await encrypted(`${url}?sslmode=no-verify`)).toBe(true);
  expect(await encrypted(`${url}?sslmode=disable`)).toBe(false);
});

/** Postgres itself writes the files, as their owner. @returns the certificate */
async function useCertificate(url: string): Promise<string> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }], {
    extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
  });
  const client = new pg.Client(url);
  await client.connect();
  for (const [file, text] of Object.entries({ 'server.crt': cert, 'server.key': key }))
    await client.query(
      `copy (select unnest(string_to_array(${client.escapeLiteral(text.trim())}, E'\\n'))) to program 'umask 077 && tr -d "\\r" > ${file}'`,
    );
  await client.query('alter system set ssl = on');
  await client.query('select pg_reload_conf()');
  await expect
    .poll(async () => {
      const probe = new pg.Client({ connectionString: url, ssl: { rejectUnauthorized: false } });
      const answer = await probe.connect().then(
        () => true,
        () => false,
      );
      await probe.end().catch(() => undefined);
      return answer;
    })
    .toBe(true);
  await client.end();
  return cert;
}

test.each([
  ['postgres://u:p@db.abc.eu-west-1.rds.amazonaws.com/app', 'verified', undefined],
  ['postgres://u:p@db.abc.rds.cn-north-1.amazonaws.com.cn/app', 'verified', undefined],
  ['postgres://u:p@db.abc.eusc-de-east-1.rds.amazonaws.eu/app', 'verified', undefined],
  ['postgres://u:p@db.abc.us-isof-south-1.rds.csp.hci.ic.gov/app', 'verified', undefined],
  [
    'postgres://u:p@a.proxy-abc.us-gov-west-1.rds.amazonaws.com,b.internal/app',
    'none',
    /not encrypted/,
  ],
  ['postgres://u:p@my.rds.example.com/app', 'none', /not encrypted/],
  ['postgres://u:p@db.internal/app?ssl=true', 'verified', undefined],
  ['postgres://u:p@db.internal/app?ssl=no-verify', 'unverified', /not verified/],
  ['postgres:///app?host=/var/run/postgresql', 'none', undefined],
  ['postgres://u:p@db.internal/app?sslmode=require', 'verified', undefined],
  [
    'postgres://u:p@db.abc.eu-west-1.rds.amazonaws.com/app?sslmode=no-verify',
    'unverified',
    /not verified/,
  ],
  ['postgres://u:p@db.internal/app', 'none', /not encrypted/],
  ['postgres://u:p@localhost/app', 'none', undefined],
])('%s is %s', async (url, tls, warning) => {
  const found = await access({ DATABASE_URL: url });
  expect(found.tls).toBe(tls);
  expect(found.warning).toEqual(warning === undefined ? undefined : expect.stringMatching(warning));
  if (tls !== 'verified') return;
  const { ca, rejectUnauthorized } = found.client.ssl as {
    ca: string[];
    rejectUnauthorized: boolean;
  };
  expect(rejectUnauthorized).toBe(true);
  expect(ca.length).toBeGreaterThan(200);
});

test('a token of IAM takes the place of a password, one for each connection', async () => {
  for (const [name, value] of Object.entries({
    AWS_ACCESS_KEY_ID: 'local',
    AWS_SECRET_ACCESS_KEY: 'local',
  })) {
    const own = process.env[name];
    process.env[name] = value;
    onTestFinished(
      () =>
        void (own === undefined
          ? delete process.env[name]
          : Object.assign(process.env, { [name]: own })),
    );
  }
  const { client } = await access({
    DATABASE_URL: 'postgres://relay@db.abc.eu-west-1.rds.amazonaws.com:5433/app',
    DATABASE_AUTH: 'iam',
  });
  const elsewhere = { DATABASE_URL: 'postgres://relay@db.example.com/app', DATABASE_AUTH: 'iam' };
  expect((await access(elsewhere)).tls).toBe('verified');
  const token = await (client.password as () => Promise<string>)();
  expect(token).toMatch(
    /^db\.abc\.eu-west-1\.rds\.amazonaws\.com:5433\/\?Action=connect&DBUser=relay&.*X-Amz-Signature=/,
  );
});

test('a password that is rotated in Secrets Manager is used by the next connection, without a restart', async () => {
  const world = await World.start();
  const role = `rotating_${Math.random().toString(36).slice(2)}`;
  await world.sql(`create role ${role} superuser login password 'first'`);
  const secrets = await startSecretsManager(JSON.stringify({ username: role, password: 'first' }));
  const url = Object.assign(new URL(world.database.url), { username: role, password: '' });
  const daemon = world.daemon({
    DATABASE_URL: url.href,
    DATABASE_SECRET_ARN: 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:database',
    AWS_ENDPOINT_URL_SECRETS_MANAGER: secrets.url,
  });
  onTestFinished(async () => {
    await daemon.kill();
    await world.sql(`drop role ${role}`);
  });
  await daemon.logged('leading');
  const client = await world.live();
  secrets.value = 'second';
  await world.sql(`alter role ${role} password 'second'`);
  await world.sql(
    `select pg_terminate_backend(pid) from pg_stat_activity where usename = '${role}'`,
  );
  await world.sql(`insert into messages (content) values ('after the rotation')`);
  await client.received(1);
  expect(secrets.asked).toContain('arn:aws:secretsmanager:eu-west-1:123456789012:secret:database');
});

test.each([
  [
    { DATABASE_AUTH: 'iam', DATABASE_URL: 'postgres://u:hunter2@db/app' },
    /DATABASE_URL: has a password.*leave it out here/,
  ],
  [
    { DATABASE_SECRET_ARN: 'db-password', DATABASE_URL: 'postgres://u@db/app' },
    /DATABASE_SECRET_ARN: is not the ARN/,
  ],
  [
    { DATABASE_AUTH: 'iam', DATABASE_URL: 'postgres://u@db/app?sslmode=disable' },
    /DATABASE_URL: sslmode lets the token/,
  ],
  [
    { DATABASE_AUTH: 'iam', DATABASE_URL: 'postgres://u@db/app?ssl=no-verify' },
    /DATABASE_URL: sslmode lets the token/,
  ],
  [
    {
      DATABASE_AUTH: 'iam',
      DATABASE_SECRET_ARN: 'arn:aws:secretsmanager:x',
      DATABASE_URL: 'postgres://u@db/app',
    },
    /DATABASE_SECRET_ARN: is set beside DATABASE_AUTH=iam/,
  ],
])('settings that contradict each other are told apart: %j', (env, message) => {
  expect(() => loadConfig({ ...SETTINGS, ...env })).toThrow(message);
  expect(() => loadConfig({ ...SETTINGS, ...env })).not.toThrow(/hunter2/);
});
