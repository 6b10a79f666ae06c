import * as v from 'valibot';

/**
 * The settings of a deployment, by `-c name=value` or the context of cdk.json. docs/deploy.md lists
 * it.
 */
export interface DeploySettings {
  /** Null makes a VPC for a trial. */
  readonly network: {
    readonly vpcId: string;
    readonly zones: readonly string[];
    readonly subnetIds: readonly string[];
  } | null;
  /** Null makes a database for a trial. */
  readonly database: ExistingDatabase | null;
  readonly auth: Readonly<Record<string, string>>;
  /** ARN of a plain secret that signs tokens; null makes one for a trial, undefined is for JWKS. */
  readonly jwtSecretArn: string | null | undefined;
  /** The customer-managed key of both secrets, where they have one. */
  readonly secretsKmsKeyArn: string | undefined;
  readonly directoryFeed: 'scan' | 'stream';
  readonly postsPerSecondLimit: number;
  /** More handshakes are refused by API Gateway, without a Lambda. */
  readonly connectsPerSecondLimit: number;
  /** Reserved of the account's concurrency, and at most so much of it; none without it. */
  readonly connectConcurrency: number | undefined;
  /**
   * `overlap`: a new relay stands by before the old one stops. `recreate`: the old one stops first.
   */
  readonly rollout: 'overlap' | 'recreate';
  /** One leads, the others stand by. */
  readonly relays: number;
  readonly cpu: number;
  readonly memoryMiB: number;
  /** Needs a role for API Gateway's logs in the account (docs/deploy.md). */
  readonly accessLogs: boolean;
  readonly alarmEmail: string | undefined;
  /**
   * ECS Exec, for rowcast status, trace and doctor beside the relay. Its agent writes: the root
   * file system cannot be read-only then.
   */
  readonly exec: boolean;
}

export interface ExistingDatabase {
  readonly host: string;
  readonly port: number;
  readonly name: string;
  readonly user: string;
  /**
   * `secret`: RDS's own JSON or a plain password. `iam`: tokens of RDS IAM authentication, for that
   * resource id.
   */
  readonly password: { readonly secretArn: string } | { readonly resourceId: string };
  readonly securityGroupId: string;
}

const text = v.pipe(v.string(), v.trim(), v.minLength(1, 'is empty'));
/** A list in cdk.json, or in `-c` as JSON or with commas. */
const list = v.pipe(
  v.union([v.array(text), text], 'is not a list such as a,b or ["a","b"]'),
  v.transform((value) =>
    Array.isArray(value) ? value : value.startsWith('[') ? jsonOf(value) : value.split(','),
  ),
  v.array(text, 'is not a list such as a,b or ["a","b"]'),
);
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
const whole = (least: number, most: number) =>
  v.pipe(
    v.union([v.string(), v.number()]),
    v.transform(Number),
    v.check(
      (value) => Number.isInteger(value) && value >= least && value <= most,
      `is not a whole number from ${least} to ${most}`,
    ),
  );
const id = (prefix: string) =>
  v.pipe(
    text,
    v.regex(
      new RegExp(`^${prefix}-[0-9a-f]{8,17}$`),
      `is not an id such as ${prefix}-0123456789abcdef0`,
    ),
  );
const secretArn = v.pipe(
  text,
  v.regex(/^arn:[\w-]+:secretsmanager:/, 'is not the ARN of a Secrets Manager secret'),
);
const flag = v.pipe(
  v.union([v.boolean(), v.picklist(['true', 'false'], 'is neither true nor false')]),
  v.transform((value) => value === true || value === 'true'),
);

/** Each name is a context variable; another is a mistake, and would silently be left out. */
const Context = v.strictObject({
  vpcId: v.optional(id('vpc')),
  zones: v.optional(list),
  subnetIds: v.optional(
    v.pipe(
      list,
      v.everyItem((each) => /^subnet-[0-9a-f]{8,17}$/.test(each), 'holds what is no subnet-…'),
    ),
  ),
  databaseHost: v.optional(text),
  databasePort: v.optional(whole(1, 65_535), 5432),
  databaseName: v.optional(text, 'postgres'),
  databaseUser: v.optional(text),
  databaseSecretArn: v.optional(secretArn),
  databaseResourceId: v.optional(
    v.pipe(
      text,
      v.regex(/^(db|cluster)-\w+$/, 'is not an RDS resource id such as db-ABCDEFGHIJKL'),
    ),
  ),
  databaseSecurityGroupId: v.optional(id('sg')),
  jwtSecretArn: v.optional(secretArn),
  secretsKmsKeyArn: v.optional(
    v.pipe(text, v.regex(/^arn:[\w-]+:kms:/, 'is not the ARN of a KMS key')),
  ),
  jwksUrl: v.optional(v.pipe(text, v.startsWith('https://', 'does not begin with https://'))),
  jwtIssuer: v.optional(text),
  jwtAudience: v.optional(text),
  jwtRolesClaim: v.optional(text),
  jwtRoomsClaim: v.optional(text),
  jwtRoomPatternsClaim: v.optional(text),
  jwtPresenceClaim: v.optional(text),
  explainRefusals: v.optional(v.picklist(['on', 'off'], 'is neither on nor off')),
  connectionsPerUser: v.optional(whole(1, 99_999)),
  connectionsPerAddress: v.optional(whole(1, 99_999)),
  connectRpsLimit: v.optional(whole(1, 10_000), 500),
  connectConcurrency: v.optional(whole(1, 1000)),
  directoryFeed: v.optional(v.picklist(['scan', 'stream'], 'is neither scan nor stream'), 'scan'),
  postRpsLimit: v.optional(whole(1, 1_000_000), 4000),
  rollout: v.optional(
    v.picklist(['overlap', 'recreate'], 'is neither overlap nor recreate'),
    'overlap',
  ),
  relays: v.optional(whole(1, 10), 2),
  cpu: v.optional(whole(256, 16_384), 512),
  memoryMiB: v.optional(whole(512, 122_880), 1024),
  accessLogs: v.optional(flag, false),
  alarmEmail: v.optional(v.pipe(text, v.email('is not an e-mail address'))),
  exec: v.optional(flag, false),
});

/** @throws with all that is wrong, each with the name of its context variable */
export function loadDeploySettings(context: Readonly<Record<string, unknown>>): DeploySettings {
  const given = Object.fromEntries(
    Object.entries(context).filter(([, value]) => value !== undefined && value !== ''),
  );
  const result = v.safeParse(Context, given);
  const problems = result.success
    ? contradictions(result.output)
    : result.issues.map((issue) => {
        const known = String(v.getDotPath(issue)) in Context.entries;
        return `${v.getDotPath(issue)}: ${known ? issue.message : 'is no setting of this app'}`;
      });
  if (problems.length > 0 || !result.success)
    throw new Error(
      `the deployment's settings are wrong (-c name=value):\n${problems.map((line) => `  ${line}`).join('\n')}`,
    );
  return settingsOf(result.output);
}

type Given = v.InferOutput<typeof Context>;

function contradictions(s: Given): string[] {
  const problems: string[] = [];
  const network = [s.vpcId, s.zones, s.subnetIds].filter(Boolean).length;
  if (network !== 0 && network !== 3)
    problems.push(
      'vpcId, zones, subnetIds: give all three of an existing VPC, or none for a trial',
    );
  if (s.zones && s.subnetIds && s.subnetIds.length % s.zones.length !== 0)
    problems.push('subnetIds: as many for each zone, in the order of zones');
  const database = [s.databaseHost, s.databaseUser, s.databaseSecurityGroupId].filter(
    Boolean,
  ).length;
  if (database !== 0 && database !== 3)
    problems.push(
      'databaseHost, databaseUser, databaseSecurityGroupId: give all three of an existing database, or none for a trial',
    );
  if (s.databaseHost && !s.databaseSecretArn === !s.databaseResourceId)
    problems.push(
      'databaseSecretArn, databaseResourceId: give one of the two: a secret with the password, or the RDS resource id for IAM authentication',
    );
  if (!s.databaseHost !== !s.vpcId)
    problems.push(
      'vpcId, databaseHost: an existing VPC and an existing database come together, or neither for a trial',
    );
  if (s.jwtSecretArn && s.jwksUrl)
    problems.push(
      'jwtSecretArn, jwksUrl: give one of the two: who signs the tokens of clients; or none for a trial',
    );
  if (s.directoryFeed === 'stream' && (s.relays > 2 || s.rollout === 'overlap'))
    problems.push(
      'directoryFeed: DynamoDB means a stream for two readers: with stream, relays is at most 2 and rollout is recreate',
    );
  if (!isFargateSize(s.cpu, s.memoryMiB))
    problems.push(
      `cpu, memoryMiB: Fargate has no task of ${s.cpu} and ${s.memoryMiB}; 512 and 1024 is one`,
    );
  return problems;
}

/** https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html */
function isFargateSize(cpu: number, memoryMiB: number): boolean {
  if (cpu === 256) return [512, 1024, 2048].includes(memoryMiB);
  const most = { 512: 4, 1024: 8, 2048: 16, 4096: 30 }[cpu];
  return (
    most !== undefined && memoryMiB % 1024 === 0 && memoryMiB >= cpu * 2 && memoryMiB <= most * 1024
  );
}

function settingsOf(s: Given): DeploySettings {
  return {
    network: s.vpcId
      ? { vpcId: s.vpcId, zones: s.zones ?? [], subnetIds: s.subnetIds ?? [] }
      : null,
    database: s.databaseHost
      ? {
          host: s.databaseHost,
          port: s.databasePort,
          name: s.databaseName,
          user: s.databaseUser ?? '',
          password: s.databaseSecretArn
            ? { secretArn: s.databaseSecretArn }
            : { resourceId: s.databaseResourceId ?? '' },
          securityGroupId: s.databaseSecurityGroupId ?? '',
        }
      : null,
    auth: Object.fromEntries(
      Object.entries({
        JWKS_URL: s.jwksUrl,
        JWT_ISSUER: s.jwtIssuer,
        JWT_AUDIENCE: s.jwtAudience,
        JWT_ROLES_CLAIM: s.jwtRolesClaim,
        JWT_ROOMS_CLAIM: s.jwtRoomsClaim,
        JWT_ROOM_PATTERNS_CLAIM: s.jwtRoomPatternsClaim,
        JWT_PRESENCE_CLAIM: s.jwtPresenceClaim,
        EXPLAIN_REFUSALS: s.explainRefusals,
        CONNECTIONS_PER_USER: s.connectionsPerUser?.toString(),
        CONNECTIONS_PER_ADDRESS: s.connectionsPerAddress?.toString(),
      }).filter((entry): entry is [string, string] => entry[1] !== undefined),
    ),
    jwtSecretArn: s.jwksUrl ? undefined : (s.jwtSecretArn ?? null),
    secretsKmsKeyArn: s.secretsKmsKeyArn,
    directoryFeed: s.directoryFeed,
    postsPerSecondLimit: s.postRpsLimit,
    connectsPerSecondLimit: s.connectRpsLimit,
    connectConcurrency: s.connectConcurrency,
    rollout: s.rollout,
    relays: s.relays,
    cpu: s.cpu,
    memoryMiB: s.memoryMiB,
    accessLogs: s.accessLogs,
    alarmEmail: s.alarmEmail,
    exec: s.exec,
  };
}
