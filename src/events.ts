/** The emitting side of an EventEmitter: one is made by the relay and handed down to its parts. */
export interface Emitter<Events> {
  emit<Name extends keyof Events>(name: Name, ...values: Events[Name] & unknown[]): unknown;
}
