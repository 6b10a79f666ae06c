import fc from 'fast-check';
import { expect, test } from 'vitest';
import { framesOf } from '../../src/client/frames.ts';
import {
  BATCH_END,
  BATCH_START,
  eventFrame,
  readyFrame,
  truncatedFrame,
} from '../../src/protocol/frame.ts';

/**
 * JSON as Postgres may print it: a json column keeps the writer's white space, within and around.
 */
const json = fc
  .tuple(fc.json(), fc.constantFrom('', ' ', '\n\t'), fc.constantFrom(undefined, 1, '\t'))
  .map(
    ([text, around, indent]) =>
      `${around}${JSON.stringify(JSON.parse(text), null, indent)}${around}`,
  );

const event = fc.record({
  id: fc.bigInt(1n, 10n ** 18n).map(String),
  type: fc.string({ minLength: 1 }),
  data: fc.option(json),
  old: fc.option(json),
  timestamp: fc.nat().map(String),
  tx: fc.nat().map(String),
  cursor: fc.constant('8401-2.91e2aadd'),
});

test('a frame is read the same with data as text, but that data and old stay as they were printed', () => {
  fc.assert(
    fc.property(fc.array(event, { minLength: 1 }), fc.boolean(), (events, batch) => {
      const texts = events.map(eventFrame);
      const messages = batch ? [`${BATCH_START}${texts.join()}${BATCH_END}`] : texts;
      const parsed = messages.flatMap((message) => framesOf(message, false));
      expect(parsed).toEqual(texts.map((text) => JSON.parse(text)));
      const expected = parsed.map((frame, i) => ({
        ...frame,
        data: events[i]?.data ?? 'null',
        ...(events[i]?.old === null ? {} : { old: events[i]?.old }),
      }));
      expect(messages.flatMap((message) => framesOf(message, true))).toEqual(expected);
    }),
  );
});

test('READY, pong and truncated frames are read alike in both ways', () => {
  const parts = { id: '1', type: 'NEW_MESSAGE', timestamp: '1', tx: '1', cursor: '5.91e2aadd' };
  for (const text of [
    readyFrame('5.91e2aadd', false),
    '{"type":"pong"}',
    truncatedFrame(parts, null),
  ])
    expect(framesOf(text, true)).toEqual(
      framesOf(text, false).map((frame) => ('data' in frame ? { ...frame, data: 'null' } : frame)),
    );
});

test.each([
  '',
  '"',
  '{',
  '{"a',
  '{"a":',
  '{"type":"BATCH","events":[',
  'null',
  '[]',
  '{"message": "Forbidden"}',
  '<html>',
])('what is no frame is none, and breaks nothing: %s', (text) => {
  for (const asText of [false, true])
    for (const frame of framesOf(text, asText))
      expect([frame.type, frame.id]).toEqual([undefined, undefined]);
});
