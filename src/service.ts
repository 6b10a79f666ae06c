/**
 * A part of a process that runs beside others. Starting or stopping it again is no error. A stop
 * before or during the start leaves nothing running, and a stopped service stays stopped.
 */
export interface Service {
  /** Resolves once it does its work, or was stopped. */
  start(): Promise<unknown>;
  stop(): Promise<void>;
}
