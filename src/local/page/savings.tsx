import { type ReactNode, useEffect, useState } from 'react';
import { wire } from './wire.ts';

const POLL_EVERY_MS = 10_000;
/** By then the first lists are here, which a page that polls would have asked for as well. */
const FIRST_POLL_MS = 1000;

/** The lists that a page which polls would ask for. */
const lists = new Set<() => unknown>();

/** @returns takes the list away again */
export function shownRows(list: () => unknown): () => void {
  lists.add(list);
  return () => void lists.delete(list);
}

/** Beside a page that asks for both lists every ten seconds, as long as this one has been open. */
export function Savings(): ReactNode {
  const [polled, setPolled] = useState({ transfers: 0, bytes: 0 });
  const [, tick] = useState(0);
  useEffect(() => {
    const poll = () => {
      const bytes = [...lists].reduce(
        (sum, list) => sum + new Blob([JSON.stringify(list() ?? [])]).size,
        0,
      );
      setPolled((before) => ({
        transfers: before.transfers + lists.size,
        bytes: before.bytes + bytes,
      }));
    };
    const first = setTimeout(poll, FIRST_POLL_MS);
    const polling = setInterval(poll, POLL_EVERY_MS);
    const ticking = setInterval(() => tick((count) => count + 1), 1000);
    return () => {
      clearTimeout(first);
      clearInterval(polling);
      clearInterval(ticking);
    };
  }, []);
  const transfers = wire.frames + wire.fetches;
  return (
    <table className="savings">
      <caption>Beside polling every 10 s</caption>
      <thead>
        <tr>
          <td />
          <th scope="col">transfers</th>
          <th scope="col">bytes</th>
        </tr>
      </thead>
      <tbody>
        <tr>
          <th scope="row">this page: frames and first lists</th>
          <td data-figure="transfers">{transfers}</td>
          <td>{kilobytes(wire.bytes)}</td>
        </tr>
        <tr>
          <th scope="row">a page that polls both lists</th>
          <td>{polled.transfers}</td>
          <td>{kilobytes(polled.bytes)}</td>
        </tr>
        <tr>
          <th scope="row">{polled.bytes >= wire.bytes ? 'saved' : 'more than polling, so far'}</th>
          <td>{Math.abs(polled.transfers - transfers)}</td>
          <td>{kilobytes(Math.abs(polled.bytes - wire.bytes))}</td>
        </tr>
      </tbody>
    </table>
  );
}

function kilobytes(bytes: number): string {
  if (bytes < 1000) return `${Math.round(bytes)} B`;
  return bytes < 1_000_000
    ? `${(bytes / 1000).toFixed(1)} kB`
    : `${(bytes / 1_000_000).toFixed(1)} MB`;
}
