import * as v from 'valibot';
import { isLoopback } from '../loopback.ts';

/** The settings of the `$connect` Lambda; `$disconnect` knows the table alone. */
export interface ConnectSettings {
  readonly table: string;
  readonly connectionTtlSeconds: number;
  /** No limit without it. */
  readonly connectionsPerUser?: number;
  /** The same; see source-network.ts. */
  readonly connectionsPerAddress?: number;
  /** Clients that ask for it are let in to read why they are refused. */
  readonly explainsRefusals: boolean;
  readonly auth: AuthSettings;
}

/** In development (`none`) the query says who connects. */
export type AuthSettings = { readonly mode: 'none' } | JwtSettings;

export interface JwtSettings {
  readonly mode: 'jwt';
  readonly key: { readonly secret: Uint8Array } | { readonly jwksUrl: URL };
  readonly issuer?: string;
  readonly audience?: string;
  readonly rolesClaim: string;
  readonly roomsClaim: string;
  /** Where it is set, only entries of this claim are patterns. */
  readonly roomPatternsClaim?: string;
  /** The claim for others in a user's rooms; they hear nothing without it. */
  readonly presenceClaim?: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

const word = (fallback: string) => v.optional(v.pipe(v.string(), v.trim()), fallback);

const Table = v.object({ CONNECTIONS_TABLE: word('websocket_connections') });

const Limit = v.pipe(
  v.string(),
  v.regex(/^[1-9]\d{0,4}$/, 'is not a whole number up to 99999; leave it out for no limit'),
  v.transform(Number),
);

const Connect = v.pipe(
  v.object({
    ...Table.entries,
    CONNECTION_TTL_SECONDS: v.optional(
      v.pipe(
        v.string(),
        v.regex(/^[1-9]\d{0,5}$/, 'is not a whole number of seconds; leave it out for 7200'),
        v.transform(Number),
      ),
      '7200',
    ),
    AUTH_MODE: v.optional(
      v.picklist(
        ['jwt', 'none'],
        'is neither jwt nor none; none lets everybody in and is for development',
      ),
      'jwt',
    ),
    JWT_SECRET: v.optional(v.string()),
    JWKS_URL: v.optional(
      v.pipe(
        v.string(),
        v.url('is not a URL'),
        v.check(isSafe, 'is plain http: keys fetched that way can be forged; write https://'),
      ),
    ),
    JWT_ISSUER: v.optional(v.string()),
    JWT_AUDIENCE: v.optional(v.string()),
    JWT_ROLES_CLAIM: word('roles'),
    JWT_ROOMS_CLAIM: word('rooms'),
    JWT_ROOM_PATTERNS_CLAIM: v.optional(v.pipe(v.string(), v.trim())),
    JWT_PRESENCE_CLAIM: v.optional(v.pipe(v.string(), v.trim())),
    EXPLAIN_REFUSALS: v.optional(v.picklist(['on', 'off'], 'is neither on nor off'), 'off'),
    CONNECTIONS_PER_USER: v.optional(Limit),
    CONNECTIONS_PER_ADDRESS: v.optional(Limit),
  }),
  v.forward(
    v.check(
      (s) => s.AUTH_MODE === 'none' || !s.JWT_SECRET !== !s.JWKS_URL,
      'or JWKS_URL says who signs the tokens: set exactly one of the two, or AUTH_MODE=none for development',
    ),
    ['JWT_SECRET'],
  ),
);

/** Plain http only on this machine. */
function isSafe(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname));
}

/** @throws with all that is wrong */
export function loadConnectSettings(env: Environment): ConnectSettings {
  const s = check(Connect, env);
  return {
    table: s.CONNECTIONS_TABLE,
    connectionTtlSeconds: s.CONNECTION_TTL_SECONDS,
    ...(s.CONNECTIONS_PER_USER ? { connectionsPerUser: s.CONNECTIONS_PER_USER } : {}),
    ...(s.CONNECTIONS_PER_ADDRESS ? { connectionsPerAddress: s.CONNECTIONS_PER_ADDRESS } : {}),
    explainsRefusals: s.EXPLAIN_REFUSALS === 'on',
    auth: authOf(s),
  };
}

/** @throws with all that is wrong */
export function loadTable(env: Environment): string {
  return check(Table, env).CONNECTIONS_TABLE;
}

function check<Schema extends v.GenericSchema>(
  schema: Schema,
  env: Environment,
): v.InferOutput<Schema> {
  const result = v.safeParse(
    schema,
    Object.fromEntries(Object.entries(env).filter(([, value]) => value?.trim())),
  );
  if (result.success) return result.output;
  throw new Error(
    `settings are wrong: ${result.issues.map((issue) => `${v.getDotPath(issue)} ${issue.message}`).join('; ')}`,
  );
}

function authOf(s: v.InferOutput<typeof Connect>): AuthSettings {
  if (s.AUTH_MODE === 'none') return { mode: 'none' };
  return {
    mode: 'jwt',
    key: s.JWKS_URL
      ? { jwksUrl: new URL(s.JWKS_URL) }
      : { secret: new TextEncoder().encode(s.JWT_SECRET) },
    ...(s.JWT_ISSUER ? { issuer: s.JWT_ISSUER } : {}),
    ...(s.JWT_AUDIENCE ? { audience: s.JWT_AUDIENCE } : {}),
    rolesClaim: s.JWT_ROLES_CLAIM,
    roomsClaim: s.JWT_ROOMS_CLAIM,
    ...(s.JWT_ROOM_PATTERNS_CLAIM ? { roomPatternsClaim: s.JWT_ROOM_PATTERNS_CLAIM } : {}),
    ...(s.JWT_PRESENCE_CLAIM ? { presenceClaim: s.JWT_PRESENCE_CLAIM } : {}),
  };
}
