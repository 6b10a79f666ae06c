import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { DevFolder, type DevUrls } from '../../src/local/dev-folder.ts';
import { folder } from '../support/process/dev.ts';

const url = 'http://127.0.0.1:1';
const URLS: DevUrls = {
  databaseUrl: url,
  websocketUrl: url,
  managementUrl: url,
  dynamodbEndpoint: url,
  pageUrl: url,
  healthUrl: url,
  inspectUrl: url,
};

/** The id of a process that has ended. */
const gone = () => String(spawnSync('true').pid);

test('a rowcast dev that was killed is told from one that runs, and its dev.json is gone once another has the folder', async () => {
  const dev = new DevFolder(await folder());
  expect(await dev.urls()).toBeNull();
  await dev.claim();
  await dev.publish(URLS);
  expect(await dev.urls()).toEqual(URLS);
  await writeFile(dev.path('dev.pid'), gone());
  await expect(dev.urls()).rejects.toThrow(
    /dev\.json is of a rowcast dev that was killed: start rowcast dev again/,
  );
  await dev.claim();
  expect(await dev.urls()).toBeNull();
});

test('a folder that another process serves is not claimed, and that process is named', async () => {
  const dev = new DevFolder(await folder());
  await dev.claim();
  await writeFile(dev.path('dev.pid'), String(process.ppid));
  await expect(dev.claim()).rejects.toThrow(
    `as process ${process.ppid}; stop it, or choose another folder`,
  );
});

test('a dev.json of another version is refused', async () => {
  const dev = new DevFolder(await folder());
  await dev.claim();
  await writeFile(dev.path('dev.json'), JSON.stringify({ ...URLS, inspectUrl: undefined }));
  await expect(dev.urls()).rejects.toThrow(/not that of this version/);
});
