import * as v from 'valibot';
import { isLoopback } from '../loopback.ts';
import { readPostgresUrl } from '../postgres/connection-url.ts';

/**
 * Schemas of single settings. Each says what is wrong and what to write, and never shows the value:
 * one may be a password.
 */

export function whole(fallback: number, least: number, most: number) {
  return v.optional(between(least, most, String(fallback)), String(fallback));
}

/** A port, or undefined. */
export function portOr(fallback: string) {
  return v.optional(between(0, 65_535, fallback));
}

function between(least: number, most: number, fallback: string) {
  const wrong = `is not a whole number from ${least} to ${most}; leave it out for ${fallback}`;
  return v.pipe(
    v.string(),
    v.trim(),
    v.regex(/^\d{1,12}$/, wrong),
    v.transform(Number),
    v.minValue(least, wrong),
    v.maxValue(most, wrong),
  );
}

export function flag(on: string, off: string, fallback: string) {
  return v.optional(
    v.pipe(
      v.string(),
      v.trim(),
      v.toLowerCase(),
      v.picklist([on, off], `is neither ${on} nor ${off}; leave it out for ${fallback}`),
      v.transform((value) => value === on),
    ),
    fallback,
  );
}

/** An interval of one unit, as Postgres reads it too. */
export function interval(fallback: string) {
  return v.pipe(
    v.string(),
    v.trim(),
    v.toLowerCase(),
    v.regex(
      /^[1-9]\d{0,5} (second|minute|hour|day)s?$/,
      `is not a time such as "90 minutes", "24 hours" or "7 days"; leave it out for ${fallback}`,
    ),
  );
}

const UNIT_SECONDS = { second: 1, minute: 60, hour: 3600, day: 86_400 };

export function seconds(interval: string): number {
  const [count, unit] = interval.replace(/s$/, '').split(' ') as [
    string,
    keyof typeof UNIT_SECONDS,
  ];
  return Number(count) * UNIT_SECONDS[unit];
}

export const DatabaseUrl = v.pipe(
  v.string(),
  v.trim(),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    try {
      readPostgresUrl(dataset.value);
    } catch (error) {
      addIssue({ message: (error as Error).message });
    }
  }),
);

/**
 * The callback URL as the SDK needs it. A slash at its end would be doubled and a query dropped
 * without a word: corrected or refused here.
 */
export const GatewayEndpoint = v.pipe(
  v.string(),
  v.trim(),
  v.transform((value) => value.replace(/^ws(s?):\/\//i, 'http$1://')),
  v.check(
    (value) => URL.canParse(value) && /^https?:$/.test(new URL(value).protocol),
    'is not a URL; write https://{api}.execute-api.{region}.amazonaws.com/{stage}, or your custom domain without the stage',
  ),
  v.transform((value) =>
    URL.canParse(value) ? new URL(value) : new URL('http://invalid.invalid'),
  ),
  v.check(
    (url) => url.search === '' && url.hash === '',
    'has a query or a fragment; give the URL alone, clients add token and cursor themselves',
  ),
  v.check(
    (url) => url.username === '' && url.password === '',
    'has a user or password; requests are signed with AWS credentials instead',
  ),
  v.check(
    (url) => !url.pathname.includes('@connections'),
    'names @connections; end it at the stage',
  ),
  v.check(
    (url) => url.pathname !== '/' || !/\.execute-api\.[a-z]{2,}(-[a-z]+)+-\d+\./.test(url.hostname),
    'names no stage; write https://{api}.execute-api.{region}.amazonaws.com/{stage}',
  ),
  v.check(
    (url) => url.protocol === 'https:' || isLoopback(url.hostname),
    'is plain http; only a gateway on this machine is reached without TLS, write https://',
  ),
  v.transform((url) => url.href.replace(/\/+$/, '')),
);

/**
 * Partitions and Regions come without asking: two letters or more, words, a number (eu-central-1,
 * eusc-de-east-1, us-isof-south-1).
 */
export const Region = v.pipe(
  v.string(),
  v.trim(),
  v.regex(/^[a-z]{2,}(-[a-z]+)+-\d+$/, 'is not a Region; write one such as eu-central-1'),
);
