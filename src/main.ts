#!/usr/bin/env node
/**
 * The entry: hands version and environment to the command line (cli/program.ts). The composition
 * root is `daemon/daemon.ts`.
 */
import { readFileSync } from 'node:fs';
import { commandLine } from './cli/program.ts';

const { version } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as {
  version: string;
};

await commandLine(version, process.env).parseAsync();
