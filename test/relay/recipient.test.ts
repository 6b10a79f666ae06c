import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Connection } from '../../src/connections/connection.ts';
import { Snapshot } from '../../src/log/snapshot.ts';
import {
  JOINING,
  Recipient,
  type RecipientEvents,
  SERVED,
  type Stage,
  type Standing,
  servedUpTo,
  TRANSITIONS,
} from '../../src/relay/recipient.ts';

const at = (xid: number) => new Snapshot(BigInt(xid), BigInt(xid), []);

const connection: Connection = { connectionId: 'c', userId: 'u', connectedAt: 0, ttl: 0 };

/** The pin after an event: as before, the event's place, the meet of both, or none. */
type Pin = 'kept' | 'at' | 'meet' | 'none';

interface Expected {
  /** The same stage where it is left out. */
  readonly stage?: Stage;
  readonly pin: Pin;
  /** `served`, `hadReady` and `lagging` stay as they were where they are left out. */
  readonly served?: true;
  readonly hadReady?: true;
  readonly lagging?: boolean;
  readonly inDoubt?: false;
  readonly roomChange?: null;
}

type ExpectedTable = {
  readonly [S in Stage]: {
    readonly [E in keyof RecipientEvents]: (now: Standing) => Expected;
  };
};

const same = (): Expected => ({ pin: 'kept' });
const closing = ({ served, pin }: Standing): Expected => ({
  stage: 'closing',
  pin: served && !pin ? 'at' : 'kept',
  lagging: false,
});
const fallsBehind = ({ pin }: Standing): Expected => ({
  stage: 'replaying',
  pin: pin ? 'meet' : 'at',
  lagging: false,
  roomChange: null,
});

/** Written a second time, by what is promised: an event that is missing here does not compile. */
const EXPECTED: ExpectedTable = {
  replaying: {
    announced: ({ served }) => (served ? same() : { pin: 'at', served: true }),
    ready: () => ({
      stage: 'live',
      pin: 'at',
      served: true,
      hadReady: true,
      inDoubt: false,
      roomChange: null,
    }),
    lags: () => ({ pin: 'kept', lagging: true }),
    waits: ({ pin }) => ({ pin: pin ? 'kept' : 'at' }),
    caughtUp: () => ({ pin: 'kept', lagging: false }),
    fellBehind: fallsBehind,
    unservable: closing,
    committed: same,
  },
  live: {
    announced: same,
    ready: same,
    lags: () => ({ pin: 'kept', lagging: true }),
    waits: () => ({ pin: 'at' }),
    caughtUp: () => ({ pin: 'none', lagging: false }),
    fellBehind: fallsBehind,
    unservable: closing,
    committed: ({ lagging, pin }) => (!lagging && pin?.isWithin(at(20)) ? { pin: 'none' } : same()),
  },
  closing: {
    announced: same,
    ready: same,
    lags: same,
    waits: same,
    caughtUp: same,
    fellBehind: same,
    unservable: same,
    committed: same,
  },
};

const PLACE = at(20);
const PINS = [null, at(10), at(20), at(30), new Snapshot(15n, 25n, [15n])];
const FLAGS = [false, true];
const ROOM_CHANGES = [null, { upTo: at(15), gained: new Set(['room:a']) }];
const STAGES = Object.keys(TRANSITIONS) as Stage[];
const EVENTS = Object.keys(TRANSITIONS.live) as (keyof RecipientEvents)[];

function* standings(stage: Stage): Iterable<Standing> {
  for (const pin of PINS)
    for (const served of FLAGS)
      for (const hadReady of FLAGS)
        for (const lagging of FLAGS)
          for (const inDoubt of FLAGS)
            for (const roomChange of ROOM_CHANGES)
              yield { stage, pin, served, hadReady, lagging, inDoubt, roomChange };
}

test.each(STAGES.flatMap((stage) => EVENTS.map((event) => [stage, event] as const)))(
  'a recipient that is %s and %s has the standing that is promised, whatever it was before',
  (stage, event) => {
    for (const now of standings(stage)) {
      const recipient = new Recipient(connection, now);
      const changed = recipient.apply(event, PLACE as never);
      const { stage: next = stage, pin, ...flags } = EXPECTED[stage][event](now);
      const pins = { kept: now.pin, at: PLACE, meet: now.pin?.meet(PLACE) ?? null, none: null };
      const { pin: actual, ...rest } = recipient.standing;
      const { pin: _, ...before } = now;
      expect(rest).toEqual({ ...before, ...flags, stage: next });
      expect(actual?.text ?? null).toBe(pins[pin]?.text ?? null);
      if (!changed) expect(recipient.standing).toBe(now);
    }
  },
);

test('whatever happens to a recipient: once served it stays served, closing is final, and only the cursor takes the place of a pin', () => {
  const step = fc.record({
    event: fc.constantFrom(...EVENTS),
    xid: fc.integer({ min: 1, max: 50 }),
  });
  const first = fc.constantFrom<Standing>(JOINING, SERVED, servedUpTo(at(5)));
  fc.assert(
    fc.property(first, fc.array(step, { maxLength: 30 }), (standing, steps) => {
      const recipient = new Recipient(connection, standing);
      for (const { event, xid } of steps) {
        const before = recipient.standing;
        recipient.apply(event, at(xid) as never);
        const { served, stage, pin } = recipient.standing;
        if (before.served) expect(served).toBe(true);
        if (before.stage === 'closing') expect(stage).toBe('closing');
        if (served && stage !== 'live') expect(pin).not.toBeNull();
        if (before.pin && !pin) expect(['committed', 'caughtUp']).toContain(event);
      }
    }),
  );
});
