import type { StandardResult, StandardSchema } from './standard-schema.ts';

/**
 * Sends messages of the application's own through its own connection, so that they belong to its
 * transaction: `rowcast.send()` and its short forms (docs/sql.md), typed by the application's map
 * of messages.
 *
 *     const rowcast = new Publisher<{ upload_progress: { percent: number } }>();
 *     await rowcast.through(client).sendToUser('42', 'upload_progress', { percent: 80 });
 */
export class Publisher<Messages extends object = Record<string, unknown>> {
  readonly #schemas: Schemas<Messages>;

  constructor(options: PublisherOptions<Messages> = {}) {
    this.#schemas = options.schemas ?? {};
  }

  /**
   * @param client inside a transaction the client that began it: a pool would send outside of it
   */
  through(client: Queryable): Sender<Messages> {
    return new Sender(client, this.#schemas);
  }
}

export interface PublisherOptions<Messages extends object> {
  /**
   * By type, what checks its data before it is sent: any Standard Schema (zod, valibot, arktype).
   */
  readonly schemas?: Schemas<Messages>;
}

export type Schemas<Messages extends object> = {
  readonly [Type in keyof Messages]?: StandardSchema<Messages[Type]>;
};

/** A `Client`, `PoolClient` or `Pool` of pg, or whatever queries as they do. */
export interface Queryable {
  query(text: string, values: unknown[]): Promise<{ rows: unknown[] }>;
}

/**
 * Each method resolves with the event's id in the log, in decimal; the message leaves when the
 * transaction commits.
 * @throws PublishError before anything is sent, where the data is not what its schema says or is no
 * JSON
 * @throws the database's error, with a hint, for a wrong type or audience, or data over 131,072
 * bytes
 */
export class Sender<Messages extends object> {
  readonly #client: Queryable;
  readonly #schemas: Schemas<Messages>;

  constructor(client: Queryable, schemas: Schemas<Messages>) {
    this.#client = client;
    this.#schemas = schemas;
  }

  /**
   * @param audience terms: `all`, `user:ID`, `room:NAME`, `role:NAME`, `connection:ID`; `!user:ID`
   * and so on leave out
   */
  async send<Type extends keyof Messages & string>(
    type: Type,
    data: Messages[Type],
    audience: readonly string[],
  ): Promise<string> {
    const json = asJson(type, await this.#checked(type, data));
    const { rows } = await this.#client.query('select rowcast.send($1, $2, $3) as id', [
      type,
      json,
      [...audience],
    ]);
    return String((rows[0] as { id: unknown }).id);
  }

  async broadcast<Type extends keyof Messages & string>(
    type: Type,
    data: Messages[Type],
  ): Promise<string> {
    return this.send(type, data, ['all']);
  }

  async sendToUser<Type extends keyof Messages & string>(
    userId: Id,
    type: Type,
    data: Messages[Type],
  ): Promise<string> {
    return this.send(type, data, [term('user', userId)]);
  }

  async sendToRoom<Type extends keyof Messages & string>(
    room: Id,
    type: Type,
    data: Messages[Type],
  ): Promise<string> {
    return this.send(type, data, [term('room', room)]);
  }

  async sendToRole<Type extends keyof Messages & string>(
    role: string,
    type: Type,
    data: Messages[Type],
  ): Promise<string> {
    return this.send(type, data, [term('role', role)]);
  }

  async sendToConnection<Type extends keyof Messages & string>(
    connectionId: string,
    type: Type,
    data: Messages[Type],
  ): Promise<string> {
    return this.send(type, data, [term('connection', connectionId)]);
  }

  /** The data as its schema makes it, with defaults and transformations. */
  async #checked<Type extends keyof Messages & string>(
    type: Type,
    data: Messages[Type],
  ): Promise<unknown> {
    const schema = Object.hasOwn(this.#schemas, type) ? this.#schemas[type] : undefined;
    if (!schema) return data;
    const result = await check(type, schema, data);
    if (!result.issues) return result.value;
    const issues = result.issues.map(({ message, path }) =>
      [path?.map(keyOf).join('.'), message].filter(Boolean).join(': '),
    );
    throw new PublishError(type, issues.join('; '));
  }
}

type Id = string | number | bigint;

/** Nothing was sent. */
export class PublishError extends Error {
  override readonly name = 'PublishError';
  readonly type: string;

  constructor(type: string, reason: string, options?: ErrorOptions) {
    super(`rowcast: the data of ${JSON.stringify(type)} was not sent: ${reason}`, options);
    this.type = type;
  }
}

async function check(
  type: string,
  schema: StandardSchema<unknown>,
  data: unknown,
): Promise<StandardResult> {
  try {
    return await schema['~standard'].validate(data);
  } catch (error) {
    throw new PublishError(type, `its schema failed: ${String(error)}`, { cause: error });
  }
}

function asJson(type: string, data: unknown): string {
  try {
    const json: string | undefined = JSON.stringify(data);
    if (json !== undefined) return json;
  } catch (error) {
    throw new PublishError(type, error instanceof Error ? error.message : String(error), {
      cause: error,
    });
  }
  throw new PublishError(type, 'it is not JSON; send null for a message without data');
}

/** A missing name must not become somebody's, or everybody's. */
function term(kind: string, name: Id): string {
  if (
    !(typeof name === 'string'
      ? name !== ''
      : typeof name === 'bigint' || Number.isSafeInteger(name))
  )
    throw new TypeError(
      `rowcast: no ${kind} was given to send to; to reach everybody, use broadcast()`,
    );
  return `${kind}:${name}`;
}

function keyOf(segment: PropertyKey | { readonly key: PropertyKey }): string {
  return String(typeof segment === 'object' ? segment.key : segment);
}
