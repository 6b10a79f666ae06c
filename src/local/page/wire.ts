/** Counts since this page was opened, and until when its connection is cut. */
export const wire = { frames: 0, fetches: 0, bytes: 0, cutUntil: 0 };

const sockets = new Set<WebSocket>();

/** The browser's own, with a meter. While the wire is cut no connection can be opened. */
export class MeteredWebSocket extends WebSocket {
  constructor(url: string, protocols?: string[]) {
    if (Date.now() < wire.cutUntil) throw new Error('the connection is cut');
    super(url, protocols);
    sockets.add(this);
    this.addEventListener('close', () => sockets.delete(this));
    this.addEventListener('message', ({ data }) => {
      wire.frames++;
      wire.bytes += new Blob([data as string]).size;
    });
  }
}

export function cutWire(forMs: number): void {
  wire.cutUntil = Date.now() + forMs;
  for (const socket of sockets) {
    // Closed in the middle of its handshake it would look refused.
    if (socket.readyState === WebSocket.CONNECTING)
      socket.addEventListener('open', () => socket.close());
    else socket.close();
  }
}
