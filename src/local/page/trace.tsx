import { createContext, type ReactNode, useContext, useEffect, useRef, useState } from 'react';
import { fetchTrace } from './api.ts';

/** A dialog that is open shows what becomes of the event. */
const ASK_EVERY_MS = 1000;

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
  const [text, setText] = useState('…');
  useEffect(() => dialog.current?.showModal(), []);
  // The browser has a frame before the relay has heard that it was delivered.
  useEffect(() => {
    const ask = () => fetchTrace(eventId).then(setText, (error: Error) => setText(error.message));
    void ask();
    const asking = setInterval(ask, ASK_EVERY_MS);
    return () => clearInterval(asking);
  }, [eventId]);
  return (
    <dialog ref={dialog} onClose={close} aria-label={`The way of event ${eventId}`}>
      <pre>{text}</pre>
      <p className="hint">
        As <code>rowcast trace {eventId}</code> prints it.
      </p>
      <div className="row-actions">
        <button type="button" className="primary" onClick={() => dialog.current?.close()}>
          Close
        </button>
      </div>
    </dialog>
  );
}
