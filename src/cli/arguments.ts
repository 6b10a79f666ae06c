import { InvalidArgumentError } from 'commander';

/** Parsers of arguments. @throws InvalidArgumentError saying what is wrong */

export function direction(value: string): 'up' | 'down' {
  if (value !== 'up' && value !== 'down')
    throw new InvalidArgumentError('It is neither up nor down.');
  return value;
}

export function eventId(value: string): string {
  // As Postgres's bigint.
  if (!/^\d{1,19}$/.test(value) || BigInt(value) > 9_223_372_036_854_775_807n)
    throw new InvalidArgumentError('It is not the id of an event: a whole number of a frame.');
  return value;
}

export function count(value: string): number {
  if (!/^[1-9]\d{0,5}$/.test(value))
    throw new InvalidArgumentError('It is not a whole number above 0.');
  return Number(value);
}

export function port(value: string): number {
  if (!/^\d{1,5}$/.test(value) || Number(value) > 65_530)
    throw new InvalidArgumentError('It is not a port from 0 to 65530.');
  return Number(value);
}

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** @returns seconds */
export function ago(value: string): number {
  const [, count, unit = ''] = /^([1-9]\d{0,5})([smhd])$/.exec(value) ?? [];
  if (!count) throw new InvalidArgumentError('It is not a time such as 90s, 10m, 2h or 1d.');
  return Number(count) * (UNIT_SECONDS[unit] as number);
}

/** An audience term, spelled as rowcast.send() takes it. */
export function term(value: string): string {
  if (!/^(all|(user|room|role|connection):.+)$/s.test(value))
    throw new InvalidArgumentError(
      'A term is all, user:ID, room:NAME, role:NAME or connection:ID.',
    );
  return value;
}

/** One more of a list of audience terms. */
export function terms(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, term(value)];
}
