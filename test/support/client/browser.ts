import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';

const CANDIDATES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

/** The browser of this machine; tests that need one are skipped where there is none. */
export const browserPath = [process.env.CHROMIUM_PATH ?? '', ...CANDIDATES].find(
  (path) => path && existsSync(path),
);

if (!browserPath)
  console.warn(
    'Browser tests are skipped: there is no Chromium. Install it, or name one with CHROMIUM_PATH.',
  );

/** Says nothing to anybody but the pages that it opens. */
export function launchBrowser(...args: string[]): Promise<Browser> {
  return chromium.launch({
    executablePath: browserPath as string,
    args: [
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      ...args,
    ],
  });
}

/** Kept where SCREENSHOTS names a folder, to be looked at. */
export async function screenshot(page: Page, name: string): Promise<void> {
  const folder = process.env.SCREENSHOTS;
  if (folder) await page.screenshot({ path: join(folder, `${name}.png`), animations: 'allow' });
}
