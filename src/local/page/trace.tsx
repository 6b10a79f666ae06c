import { createContext, type ReactNode, useContext, useEffect, useRef, useState } from 'react';
import { fetchTrace } from './api.ts';

const Open = createContext<(eventId: string) => void>(() => undefined);

/** The dialog that shows the way of an event, for the buttons below this. */
export function Traces({ children }: { children: ReactNode }): ReactNode {
  const [eventId, setEventId] = useState<string>();
  return (
    <Open.Provider value={setEventId}>
      {children}
      {eventId && (
        <TraceDialog key={eventId} eventId={eventId} close={() => setEventId(undefined)} />
      )}
    </Open.Provider>
  );
}

/** @param of what the event is about, for who cannot see where the button stands */
export function TraceButton({ eventId, of }: { eventId: string; of: string }): ReactNode {
  const open = useContext(Open);
  return (
    <button type="button" aria-label={`Trace ${of}`} onClick={() => open(eventId)}>
      Trace
    </button>
  );
}

function TraceDialog({ eventId, close }: { eventId: string; close: () => void }): ReactNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const [asked, setAsked] = useState(0);
  const [text, setText] = useState('…');
  useEffect(() => dialog.current?.showModal(), []);
  // biome-ignore lint/correctness/useExhaustiveDependencies: asked again by a click
  useEffect(() => {
    fetchTrace(eventId).then(setText, (error: Error) => setText(error.message));
  }, [eventId, asked]);
  return (
    <dialog ref={dialog} onClose={close} aria-label={`The way of event ${eventId}`}>
      <pre>{text}</pre>
      <p className="hint">
        As <code>rowcast trace {eventId}</code> prints it.
      </p>
      <div className="row-actions">
        <button type="button" onClick={() => setAsked(asked + 1)}>
          Again
        </button>
        <button type="button" className="primary" onClick={() => dialog.current?.close()}>
          Close
        </button>
      </div>
    </dialog>
  );
}
