import { Window } from 'happy-dom';
import { WebSocket } from 'undici';
import { onTestFinished } from 'vitest';

/**
 * A document as a page has it, in this process, and the socket of Node 22. What runs on it is not
 * ended with its test, as a page would be: it gets no connections any more.
 */
export function openDocument(body: string): Document {
  const window = new Window({ url: 'http://app.invalid/' });
  window.document.body.innerHTML = body;
  Object.assign(globalThis, { window, document: window.document, WebSocket });
  onTestFinished(() => void Object.assign(globalThis, { WebSocket: ClosedPage }));
  return window.document as unknown as Document;
}

class ClosedPage {
  constructor() {
    throw new Error('the page was left');
  }
}

/**
 * A document without the DOM's types: only the page's own sources have those.
 */
export interface Document {
  title: string;
  querySelector(selector: string): { readonly textContent: string | null } | null;
  querySelectorAll(selector: string): Iterable<{ readonly textContent: string | null }>;
}
