import type { IncomingHttpHeaders } from 'node:http';
import { isLoopback } from './loopback.ts';

/**
 * Who may ask a server that is for this machine only.
 *
 * - `programs`: no page of a browser at all.
 * - `own page`: the page that the server itself serves.
 * - `local pages`: any page that this machine serves, such as an application in development.
 */
export type Audience = 'programs' | 'own page' | 'local pages';

/**
 * Any web site can make a browser send requests to this machine: by its address, and by a name of
 * the site's own that leads here (DNS rebinding). The browser says so in Host, Origin and
 * Sec-Fetch-Site (https://www.w3.org/TR/fetch-metadata/), which no page can change.
 * @returns why the request is refused; null where it is not
 */
export function refusalOf(headers: IncomingHttpHeaders, audience: Audience): string | null {
  const { host, origin, 'sec-fetch-site': site } = headers;
  if (!isLoopback(hostnameOf(`http://${host}`)))
    return 'this is for programs on this machine; ask 127.0.0.1';
  if (audience === 'local pages')
    return origin === undefined || isLoopback(hostnameOf(origin))
      ? null
      : 'this is for pages of this machine';
  if (origin !== undefined && (audience === 'programs' || origin !== `http://${host}`))
    return 'this is not for other pages';
  // `none` is the user himself, who typed an address.
  return site === undefined ||
    site === 'none' ||
    (site === 'same-origin' && audience !== 'programs')
    ? null
    : 'this is not for other pages';
}

/** Empty for what is no address. */
function hostnameOf(url: string): string {
  try {
    return new URL(url).hostname;
  } catch {
    return '';
  }
}
