import type { EventTrace, RelayStatus } from './inspection.ts';

const TIMEOUT_MS = 2000;

/** Asks the relay on this machine what only it knows (telemetry/inspection.ts). */
export class RelayInspector {
  readonly #url: string;

  /** @param port of the relay's inspection, on the loopback interface */
  constructor(port: number) {
    this.#url = `http://127.0.0.1:${port}`;
  }

  /** Null where no relay of this machine answers there. */
  status(): Promise<RelayStatus | null> {
    return this.#get<RelayStatus>('/status');
  }

  /** @see status */
  trace(eventId: string): Promise<EventTrace | null> {
    return this.#get<EventTrace>(`/trace/${eventId}`);
  }

  get where(): string {
    return this.#url.replace('http://', '');
  }

  async #get<Body>(path: string): Promise<Body | null> {
    try {
      const response = await fetch(`${this.#url}${path}`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
      return response.ok ? ((await response.json()) as Body) : null;
    } catch {
      return null;
    }
  }
}
