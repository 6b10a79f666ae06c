import { DISCONNECT, disconnectFrame, eventFrame, truncatedFrame } from '../protocol/frame.ts';
import type { LoggedEvent } from './logged-event.ts';

/**
 * A row of the log as the bytes of a frame; shortened to its key where it would be larger than
 * `maxFrameBytes`.
 */
export function encodeEvent(event: LoggedEvent, cursor: string, maxFrameBytes: number): Buffer {
  if (event.type === DISCONNECT) return Buffer.from(disconnectFrame(event.data));
  const parts = { ...event, tx: event.xid, cursor };
  if (!event.oversize) {
    const payload = Buffer.from(eventFrame(parts));
    if (payload.length <= maxFrameBytes) return payload;
  }
  return Buffer.from(truncatedFrame(parts, event.key));
}
