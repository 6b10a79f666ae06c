import { expect, test } from 'vitest';
import { readPostgresUrl } from '../../src/postgres/connection-url.ts';

test.each([
  ['postgres://u:p@h/db', [{ user: 'u', password: 'p', host: 'h', database: 'db' }]],
  ['postgresql://u@[::1]:5433/db', [{ user: 'u', host: '::1', port: 5433 }]],
  ['postgres://u@a:1,b:2,c/db', [{ host: 'a', port: 1 }, { host: 'b', port: 2 }, { host: 'c' }]],
  [
    'postgres://u@a,b/db?port=6000',
    [
      { host: 'a', port: 6000 },
      { host: 'b', port: 6000 },
    ],
  ],
  ['postgres://u@/db?host=/var/run/postgresql', [{ host: '/var/run/postgresql', database: 'db' }]],
  ['postgres://%2Fvar%2Frun%2Fpostgresql/db', [{ host: '/var/run/postgresql', database: 'db' }]],
  [
    'postgres:///db?host=a,b&port=1,2',
    [
      { host: 'a', port: 1 },
      { host: 'b', port: 2 },
    ],
  ],
  [
    'postgres://u:p%40%2F%2C@h/db?options=-c%20role%3Dx',
    [{ password: 'p@/,', options: '-c role=x' }],
  ],
  ['postgres://u@h/db?schema=public&pgbouncer=true', [{ host: 'h' }]],
])('%s is understood as libpq does', (url, servers) => {
  expect(readPostgresUrl(url).servers).toMatchObject(servers);
});

test.each([
  ['postgres://u@h/db', null],
  ['postgres://u@h/db?sslmode=require', 'require'],
  ['postgres://u@h/db?ssl=true', 'require'],
  ['postgres://u@h/db?sslrootcert=system', 'verify-full'],
  ['postgres://u@h/db?sslmode=verify-full&sslrootcert=system', 'verify-full'],
])('%s asks for TLS as %s', (url, mode) => {
  const { sslMode, files } = readPostgresUrl(url);
  expect([sslMode, files()]).toEqual([mode, undefined]);
});

test.each([
  ['postgres://u@h/db?service=prod', /option service/],
  ['postgres://u@h/db?passfile=x', /option passfile/],
  [
    'postgres://u@h/db?target_session_attrs=standby',
    /option target_session_attrs .* any, read-write, primary/,
  ],
  ['postgres://u@h/db?channel_binding=require', /option channel_binding/],
  ['postgres://u@h/db?sslmode=sometimes', /option sslmode/],
  ['postgres://u@a,b,c/db?port=1,2', /3 hosts and 2 ports/],
  ['postgres://u:hunter2#x@h/db', /is not a Postgres URL/],
  ['mysql://u:hunter2@h/db', /is not a Postgres URL/],
  ['postgres://u@h:port/db', /is not a Postgres URL/],
])('%s is refused, by the name of what cannot be followed', (url, reason) => {
  expect(() => readPostgresUrl(url)).toThrow(reason);
  expect(() => readPostgresUrl(url)).not.toThrow(/hunter2/);
});
