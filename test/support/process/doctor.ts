import { expect } from 'vitest';
import type { Finding } from '../../../src/doctor/finding.ts';
import { command } from './command.ts';

/** The doctor's findings, by group and name, and its exit code. */
export async function doctor(env: Record<string, string>, ...args: string[]) {
  const { code, output, errors } = await command(['doctor', '--json', ...args], env);
  expect(errors).toBe('');
  const findings = output.split('\n').map((line) => JSON.parse(line) as Finding);
  const named = (verdict: Finding['verdict']) =>
    Object.fromEntries(
      findings
        .filter((finding) => finding.verdict === verdict)
        .map(({ group, name, detail, fix }) => [
          `${group}: ${name}`,
          fix ? `${detail} DO ${fix}` : detail,
        ]),
    );
  return {
    code,
    problems: named('problem'),
    warnings: named('warning'),
    ok: named('ok'),
    skipped: named('skipped'),
  };
}
