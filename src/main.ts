#!/usr/bin/env node
/**
 * The entry: hands the environment to the command line, and prints what a command throws. The
 * composition root is `daemon/daemon.ts`.
 */
import { readFileSync } from 'node:fs';
import { commandLine } from './cli/program.ts';

const { version } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as {
  version: string;
};

await commandLine(version, process.env).parseAsync();
