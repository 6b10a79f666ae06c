import { type ReactNode, useState, useSyncExternalStore } from 'react';
import type { Frame } from '../../client/frames.ts';
import { TraceButton } from './trace.tsx';
import { isReplayed, onSeen, type SeenMessage, seenMessages } from './wire.ts';

/** The WebSocket's messages, each as it came. */
export function Frames(): ReactNode {
  const messages = useSyncExternalStore(onSeen, seenMessages);
  return (
    <section className="panel" aria-labelledby="frames">
      <h2 id="frames">
        Frames <span className="count">{messages[0]?.number ?? 0}</span>
      </h2>
      <ul className="rows frames">
        {messages.map((message) => (
          <MessageItem key={message.number} message={message} />
        ))}
      </ul>
    </section>
  );
}

function MessageItem({ message: { frames, bytes, atMs } }: { message: SeenMessage }): ReactNode {
  const [isOpen, setOpen] = useState(false);
  const shown = isOpen ? frames : [];
  return (
    <li>
      <details onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
        <summary>
          <time>{new Date(atMs).toLocaleTimeString()}</time> <code>{typesOf(frames)}</code>{' '}
          <span className="badge">{bytes} B</span>
          {frames.some(({ id }) => isReplayed(id)) && <span className="badge">replayed</span>}
        </summary>
        {shown.map((frame, i) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: frames of a message never change
          <div key={i} className="frame">
            <pre>{JSON.stringify(frame, null, 2)}</pre>
            {frame.id && <TraceButton eventId={frame.id} of={`event ${frame.id}`} />}
          </div>
        ))}
      </details>
    </li>
  );
}

/** `NEW_MESSAGE, UPDATE_MESSAGE × 3` */
function typesOf(frames: readonly Frame[]): string {
  const counts = new Map<string, number>();
  for (const { type = 'no type' } of frames) counts.set(type, (counts.get(type) ?? 0) + 1);
  return [...counts].map(([type, count]) => (count > 1 ? `${type} × ${count}` : type)).join(', ');
}
