import type { Connection } from '../connections/connection.ts';

/** A user with connections, or one who had some a moment ago. */
export class OnlineUser {
  readonly userId: string;
  /** Each with the watched rooms that it is in. */
  readonly connections = new Map<Connection, ReadonlySet<string>>();
  /** Watched rooms that the user is in; also those where the last connection has ended lately. */
  readonly rooms = new Set<string>();
  /** When the user is no longer online, in uptime; null while connected. */
  leavesAtMs: number | null = null;
  #info: string | undefined;
  #infoOfMs = -1;

  constructor(userId: string) {
    this.userId = userId;
  }

  /** JSON text; undefined where the token says nothing. */
  get info(): string | undefined {
    return this.#info;
  }

  /** The latest connection knows best. @returns whether anything changed */
  learnInfo({ connectedAt, info }: Connection): boolean {
    if (connectedAt < this.#infoOfMs) return false;
    this.#infoOfMs = connectedAt;
    const isNew = info !== this.#info;
    this.#info = info;
    return isNew;
  }
}
