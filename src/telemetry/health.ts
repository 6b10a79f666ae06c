import type { Answer } from './http-service.ts';

/**
 * `/healthz`: the process turns its event loop: 200. `/readyz`: it does its part, 200, or 503 with
 * the reasons. A standby is ready: a rolling deploy that waited for a second leader would never
 * end. `/metrics`: in Prometheus's format.
 */
export function healthRoutes(deps: { readiness: () => Readiness; metrics: () => Promise<string> }) {
  return async (path: string): Promise<Answer | null> => {
    if (path === '/healthz') return { status: 200, body: { ready: true, pid: process.pid } };
    if (path === '/metrics') return { status: 200, body: await deps.metrics() };
    if (path !== '/readyz') return null;
    const readiness = deps.readiness();
    return { status: readiness.ready ? 200 : 503, body: readiness };
  };
}

export interface Readiness {
  readonly ready: boolean;
  readonly role?: string;
  /** Reasons in words. */
  readonly reasons?: readonly string[];
}
