import type pg from 'pg';
import { parseIntoClientConfig } from 'pg-connection-string';

/**
 * A connection URI with libpq's grammar
 * (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS): several
 * hosts, sockets, and options of which each is followed or refused by its name.
 */
export interface PostgresUrl {
  /** One a host, in their order; without `ssl`. */
  readonly servers: readonly pg.ClientConfig[];
  /** `sslmode`, or pg's own `ssl=true` and `ssl=no-verify`; null where the URL says nothing. */
  readonly sslMode: string | null;
  /** Certificates and keys that the URL names. @throws where a file cannot be read */
  files(): pg.ClientConfig['ssl'];
}

/**
 * @throws Error that says what is wrong and what to write; it holds no value of the URL, which may
 * be a password
 */
export function readPostgresUrl(text: string): PostgresUrl {
  const [, scheme, authority = '', rest = ''] =
    /^(postgres(?:ql)?:\/\/)([^/?#]*)(.*)$/.exec(text) ?? [];
  const at = authority.lastIndexOf('@');
  const userInfo = authority.slice(0, at + 1);
  const bare = `${scheme}${userInfo}${PLACEHOLDER}${rest}`;
  if (!scheme || !URL.canParse(bare)) throw new Error(NOT_A_URL);
  const url = new URL(bare);
  const { searchParams } = url;
  const places = placesOf(authority.slice(at + 1), searchParams);
  for (const [name, value] of searchParams) checkOption(name, value);
  const ssl = searchParams.get('ssl');
  const usesSystem = searchParams.get('sslrootcert') === 'system';
  const sslMode =
    searchParams.get('sslmode') ??
    (ssl === 'true' || ssl === '1'
      ? 'require'
      : ssl === 'no-verify'
        ? ssl
        : usesSystem
          ? 'verify-full'
          : null);
  if (usesSystem) searchParams.delete('sslrootcert');
  // pg would make its own of these, with a warning; `ssl` of the configuration says all.
  for (const name of ['sslmode', 'ssl', 'host', 'port', 'target_session_attrs'])
    searchParams.delete(name);
  const named = [...searchParams.keys()].filter((name) => FILES.includes(name));
  const withFiles = url.href;
  for (const name of FILES) searchParams.delete(name);
  const { host: _, port: __, ...client } = parseIntoClientConfig(url.href);
  return {
    servers: places.map((place) => ({ ...client, ...place })),
    sslMode,
    files: () => (named.length > 0 ? parseIntoClientConfig(withFiles).ssl : undefined),
  };
}

const PLACEHOLDER = 'host';
const NOT_A_URL =
  'is not a Postgres URL (its value is not shown); write postgres://user:password@host:5432/database, with special characters of the password percent-encoded';
const FILES = ['sslcert', 'sslkey', 'sslrootcert'];

/**
 * Hosts and ports, of the authority or the query, each a list. A host that begins with a slash is
 * the folder of a socket.
 */
function placesOf(
  authority: string,
  query: URLSearchParams,
): Pick<pg.ClientConfig, 'host' | 'port'>[] {
  const written = authority.split(',').map((each) => /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(each));
  if (written.includes(null)) throw new Error(NOT_A_URL);
  const hosts = query.get('host')?.split(',') ?? written.map((each) => each?.[1] ?? '');
  const ports = query.get('port')?.split(',') ?? written.map((each) => each?.[2] ?? '');
  if (ports.length !== 1 && ports.length !== hosts.length)
    throw new Error(
      `names ${hosts.length} hosts and ${ports.length} ports; give one port, or one for each host`,
    );
  return hosts.map((host, i) => {
    const port = ports.length === 1 ? ports[0] : ports[i];
    if (port && !/^\d{1,5}$/.test(port)) throw new Error(NOT_A_URL);
    const name = decodeURIComponent(host).replace(/^\[(.+)\]$/, '$1');
    return { ...(name ? { host: name } : {}), ...(port ? { port: Number(port) } : {}) };
  });
}

/**
 * Options of libpq that cannot be followed here, with what to do instead. What libpq does not know
 * either is other libraries'.
 */
const REFUSED: Readonly<Record<string, string>> = {
  service: 'write out what the service file says',
  passfile: 'put the password into the URL, or use DATABASE_SECRET_ARN',
  hostaddr: 'give the address as host',
  requirepeer: 'leave it out',
  krbsrvname: 'use a password, DATABASE_SECRET_ARN or DATABASE_AUTH=iam',
  gsslib: 'use a password, DATABASE_SECRET_ARN or DATABASE_AUTH=iam',
  require_auth: 'leave it out; pg_hba.conf says how clients authenticate',
  sslcrl: 'leave it out',
  sslcrldir: 'leave it out',
  sslpassword: 'use a key without a passphrase',
  replication: 'leave it out; Rowcast uses no replication',
};

/** Values that an option may have, where others cannot be followed. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  sslmode: ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'],
  target_session_attrs: ['any', 'read-write', 'primary'],
  sslnegotiation: ['postgres'],
  gssencmode: ['disable', 'prefer'],
  channel_binding: ['disable', 'prefer'],
  load_balance_hosts: ['disable'],
  client_encoding: ['utf8', 'UTF8', 'utf-8', 'UTF-8', 'auto'],
};

function checkOption(name: string, value: string): void {
  const instead = REFUSED[name];
  if (instead !== undefined)
    throw new Error(`has the option ${name}, which Rowcast does not follow; ${instead}`);
  const allowed = ALLOWED[name];
  if (allowed && !allowed.includes(value))
    throw new Error(
      `has a value of the option ${name} that Rowcast does not follow; write one of ${allowed.join(', ')}`,
    );
}
