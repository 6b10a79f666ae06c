/**
 * A message as an application receives it, typed by its own map from message type to data:
 * `connect<{ NEW_ORDER: Order; upload_progress: { percent: number } }>(…)`.
 */

interface Envelope<Type> {
  /** Unique; a client drops repeats by it. */
  readonly id: string;
  readonly type: Type;
  /** When the row was written, epoch ms. */
  readonly timestamp: number;
  /** The transaction that wrote it, in decimal (`pg_current_xact_id()`). */
  readonly tx: string;
  readonly cursor: string;
}

export interface WholeMessage<Type, Data> extends Envelope<Type> {
  readonly data: Data;
  /**
   * The row before an update or delete, where the table is watched with `include_old`; else the
   * former primary key, where an update has changed it.
   */
  readonly old?: Partial<Data>;
  readonly truncated?: false;
  /** It was too large to send: `fetchRow` brought the row, which may be newer than the message. */
  readonly fetched?: true;
}

/**
 * Its row is larger than MAX_FRAME_BYTES: only the primary key came, and `fetchRow` was not given
 * or brought nothing.
 */
export interface TruncatedMessage<Type, Data> extends Envelope<Type> {
  readonly data: Partial<Data>;
  readonly truncated: true;
}

export type MessageOf<Map extends object, Type extends keyof Map & string> =
  | WholeMessage<Type, Map[Type]>
  | TruncatedMessage<Type, Map[Type]>;

/** A message of any of the map's types; `type` tells which. */
export type Message<Map extends object = Record<string, unknown>> = {
  [Type in keyof Map & string]: MessageOf<Map, Type>;
}[keyof Map & string];

/**
 * The messages of a watched table: `TableMessages<'MESSAGE', MessageRow> &
 * TableMessages<'COMPLAINT', ComplaintRow>`.
 */
export type TableMessages<Entity extends string, Row> = {
  [Type in `NEW_${Entity}` | `UPDATE_${Entity}` | `DELETE_${Entity}`]: Row;
} & { [Type in `TRUNCATE_${Entity}`]: null };

/** From here on everything committed arrives. */
export interface Ready {
  /**
   * Whether everything since the last READY (or since the cursor that `connect` was given) has
   * arrived. If not, fetch again.
   */
  readonly recovered: boolean;
  /**
   * The feed's first: a list that was fetched before may be missing what was committed in between.
   * Fetch it now.
   */
  readonly first: boolean;
  readonly cursor: string;
}
