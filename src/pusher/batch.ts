import { BATCH_END, BATCH_START } from '../protocol/frame.ts';
import { Payload } from './payload.ts';

const BATCH_OPEN = Buffer.from(BATCH_START);
const BATCH_CLOSE = Buffer.from(BATCH_END);
const COMMA = Buffer.from(',');
export const COMMA_BYTES = COMMA.length;

/**
 * Batches by their first frame: where many connections wait for the same frames, one batch is made,
 * and hashed, for all of them. Forgotten with the frame.
 */
const batches = new WeakMap<
  Framed,
  { readonly frames: readonly Framed[]; readonly payload: Payload }
>();

/** The payload that carries all these frames. */
export function batchOf(frames: readonly Framed[]): Payload {
  const first = frames[0] as Framed;
  const known = batches.get(first);
  if (
    known?.frames.length === frames.length &&
    known.frames.every((frame, n) => frame === frames[n])
  )
    return known.payload;
  const parts = frames.flatMap(({ payload }) => [COMMA, payload.bytes]);
  parts[0] = BATCH_OPEN;
  const payload = new Payload(
    Buffer.concat([...parts, BATCH_CLOSE]),
    frames.flatMap(({ payload }) => payload.eventIds),
    frames.length,
  );
  batches.set(first, { frames, payload });
  return payload;
}

interface Framed {
  readonly payload: Payload;
}
