import type { EventTrace, Origin, RelayStatus } from './inspection-api.ts';

const TIMEOUT_MS = 2000;

/** Asks the relay on this machine what only it knows (inspection-api.ts). */
export class InspectionClient {
  /** As an operator would write it. */
  readonly where: string;

  /** @param port of the relay's inspection, on the loopback interface */
  constructor(port: number) {
    this.where = `127.0.0.1:${port}`;
  }

  /**
   * Null where no relay answers there, or one of another database.
   * @param installation uuid of this database's; null where that is not known
   */
  status(installation: string | null): Promise<RelayStatus | null> {
    return this.#get<RelayStatus>('/status', installation);
  }

  /** @see status */
  trace(eventId: string, installation: string | null): Promise<EventTrace | null> {
    return this.#get<EventTrace>(`/trace/${eventId}`, installation);
  }

  async #get<Body extends Origin>(path: string, installation: string | null): Promise<Body | null> {
    try {
      const response = await fetch(`http://${this.where}${path}`, {
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      const body = (await response.json()) as Body;
      if (!response.ok || body.service !== 'rowcast') return null;
      const another =
        installation !== null && body.installation !== null && body.installation !== installation;
      return another ? null : body;
    } catch {
      return null;
    }
  }
}
