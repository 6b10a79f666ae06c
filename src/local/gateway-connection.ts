import type { WebSocket } from 'ws';

/** A connection, from the upgrade request on. */
export interface GatewayConnection {
  readonly id: string;
  readonly connectedAt: number;
  lastActiveAt: number;
  readonly sourceIp: string;
  readonly userAgent: string;
  /** Once `$connect` let it in. */
  socket?: WebSocket;
}
