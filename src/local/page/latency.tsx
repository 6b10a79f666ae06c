import { type ReactNode, useState } from 'react';
import { useRowcast } from '../../react/react.ts';
import { isReplayed } from './wire.ts';

const MAX_SAMPLES = 60;
const WIDTH = 480;
const HEIGHT = 72;

/**
 * From the row's timestamp to the frame in which the browser shows it. Both clocks are this
 * machine's. What was replayed is left out: its time is how long one was away.
 */
function useLatencies(): readonly number[] {
  const [latencies, setLatencies] = useState<readonly number[]>([]);
  useRowcast(
    {
      onMessage({ id, timestamp }) {
        if (isReplayed(id) || document.hidden) return;
        requestAnimationFrame(() =>
          setTimeout(() =>
            setLatencies((all) =>
              [...all, Math.max(0, Date.now() - timestamp)].slice(-MAX_SAMPLES),
            ),
          ),
        );
      },
    },
    () => null,
  );
  return latencies;
}

export function Latency(): ReactNode {
  const latencies = useLatencies();
  const sorted = [...latencies].sort((a, b) => a - b);
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
  const rows = latencies.length === 1 ? 'the row' : `the last ${latencies.length} rows`;
  return (
    <div className="latency">
      {latencies.length === 0 ? (
        <p>Insert a row, and see here how long it took from the write to this screen.</p>
      ) : (
        <p>
          From write to screen: <strong data-figure="p50">{at(0.5)} ms</strong> for half of {rows},
          and at most <strong data-figure="p95">{at(0.95)} ms</strong> for 95 of 100.
        </p>
      )}
      <Plot latencies={latencies} />
    </div>
  );
}

function Plot({ latencies }: { latencies: readonly number[] }): ReactNode {
  const top = Math.max(20, ...latencies);
  const bar = WIDTH / MAX_SAMPLES;
  return (
    <svg
      viewBox={`0 0 ${WIDTH} ${HEIGHT + 12}`}
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
  );
}
