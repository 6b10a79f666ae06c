import { type ReactNode, useEffect, useRef, useState } from 'react';
import type { Status } from '../../client/connect.ts';
import { useRowcast } from '../../react/react.ts';
import { cutLeftMs, cutWire, isReplayed } from './wire.ts';

const CUT_MS = 5000;

const SIGNS: Readonly<Record<Status, string>> = {
  connecting: 'Connecting',
  replaying: 'Catching up',
  live: 'Live',
  offline: 'Offline',
  refused: 'Refused',
};

export function LiveSign(): ReactNode {
  const replayed = useRef(0);
  const [caughtUp, setCaughtUp] = useState('');
  const { status, lastUpdate, error } = useRowcast({
    onMessage({ id }) {
      if (isReplayed(id)) replayed.current++;
    },
    onReady({ first, recovered }) {
      if (!first && status !== 'live')
        setCaughtUp(recovered ? `back, with ${replayed.current} missed` : 'back; fetched again');
      replayed.current = 0;
    },
  });
  useEffect(() => {
    document.title = status === 'live' ? 'Rowcast' : `Rowcast (${SIGNS[status]})`;
  }, [status]);
  return (
    <div className="live-sign">
      <span role="status" data-status={status} className="sign">
        {SIGNS[status]}
      </span>
      <span className="hint" data-figure="last-update">
        {lastUpdate === null
          ? 'no update yet'
          : `last update ${new Date(lastUpdate).toLocaleTimeString()}`}
        {caughtUp && ` · ${caughtUp}`}
      </span>
      {status === 'refused' && (
        <span className="hint">
          the gateway answers, and does not let this page in{error && ` (${error.code})`}
        </span>
      )}
      <CutButton />
    </div>
  );
}

/** Long enough to insert a row meanwhile and to see it replayed. */
function CutButton(): ReactNode {
  const [secondsLeft, setSecondsLeft] = useState(() => Math.ceil(cutLeftMs() / 1000));
  useEffect(() => {
    if (secondsLeft === 0) return;
    const timer = setTimeout(() => setSecondsLeft(secondsLeft - 1), 1000);
    return () => clearTimeout(timer);
  }, [secondsLeft]);
  return (
    <button
      type="button"
      disabled={secondsLeft > 0}
      onClick={() => {
        cutWire(CUT_MS);
        setSecondsLeft(CUT_MS / 1000);
      }}
    >
      {secondsLeft > 0 ? `Cut: ${secondsLeft} s` : 'Cut for 5 s'}
    </button>
  );
}
