import type { LoggedEvent } from './listener/logged-event.ts';
import { eventFrame, truncatedFrame } from './protocol/frame.ts';

/** A row of the log as the bytes of a frame; shortened to its key where it would be larger than `maxFrameBytes`. */
export function encodeEvent(event: LoggedEvent, cursor: string, maxFrameBytes: number): Buffer {
  if (!event.oversize) {
    const payload = Buffer.from(eventFrame({ ...event, cursor }));
    if (payload.length <= maxFrameBytes) return payload;
  }
  return Buffer.from(truncatedFrame({ ...event, cursor }, event.key));
}

/** What the process grows by for an event beside its text, garbage that waits to be collected included (measured by `bench catchup`). */
const EVENT_BYTES = 6000;
const TERM_BYTES = 100;

/** About what a page holds in memory while it is delivered. */
export function pageBytes(events: readonly LoggedEvent[]): number {
  let bytes = 0;
  for (const { data, old, audience } of events)
    bytes += EVENT_BYTES + (data?.length ?? 0) + (old?.length ?? 0) + audience.length * TERM_BYTES;
  return bytes;
}
