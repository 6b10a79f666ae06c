import { type ReactNode, useState } from 'react';
import { useRowcast } from '../../react/react.ts';
import { Savings } from './savings.tsx';

const MAX_SAMPLES = 60;
const WIDTH = 480;
const HEIGHT = 120;

/**
 * From the row's timestamp to the frame in which the browser shows it. Both clocks are this
 * machine's. What was replayed is left out: its time is how long one was away.
 */
function useLatencies(): readonly number[] {
  const [latencies, setLatencies] = useState<readonly number[]>([]);
  const { status } = useRowcast({
    onMessage({ timestamp }) {
      if (status !== 'live' || document.hidden) return;
      requestAnimationFrame(() =>
        setTimeout(() =>
          setLatencies((all) => [...all, Math.max(0, Date.now() - timestamp)].slice(-MAX_SAMPLES)),
        ),
      );
    },
  });
  return latencies;
}

export function Latency(): ReactNode {
  const latencies = useLatencies();
  const sorted = [...latencies].sort((a, b) => a - b);
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  const top = Math.max(20, ...latencies);
  const bar = WIDTH / MAX_SAMPLES;
  return (
    <section className="panel" aria-labelledby="latency">
      <h2 id="latency">From write to screen</h2>
      <dl className="figures">
        <Figure label="last" value={latencies.at(-1)} />
        <Figure label="median" value={at(0.5)} />
        <Figure label="95 %" value={at(0.95)} />
      </dl>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT + 16}`}
        role="img"
        aria-label={`Latency of the last ${latencies.length} messages`}
      >
        {[0.5, 1].map((share) => (
          <g key={share} className="scale">
            <line x1="0" x2={WIDTH} y1={HEIGHT * (1 - share) + 12} y2={HEIGHT * (1 - share) + 12} />
            <text x="0" y={HEIGHT * (1 - share) + 9}>
              {Math.round(top * share)} ms
            </text>
          </g>
        ))}
        {latencies.map((ms, i) => (
          <rect
            // biome-ignore lint/suspicious/noArrayIndexKey: a bar is its place
            key={i}
            className="bar"
            x={(MAX_SAMPLES - latencies.length + i) * bar + 1}
            width={bar - 2}
            y={12 + HEIGHT - Math.max(2, (ms / top) * HEIGHT)}
            height={Math.max(2, (ms / top) * HEIGHT)}
            rx="1.5"
          >
            <title>{ms} ms</title>
          </rect>
        ))}
      </svg>
      <Savings />
    </section>
  );
}

function Figure({ label, value }: { label: string; value: number | undefined }): ReactNode {
  return (
    <div>
      <dt>{label}</dt>
      <dd>{value === undefined ? '–' : `${value} ms`}</dd>
    </div>
  );
}
