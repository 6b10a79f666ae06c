import { examine } from '../doctor/doctor.ts';
import type { Finding } from '../doctor/finding.ts';
import { counted, printable, type Terminal, wrap } from './terminal.ts';

const SIGNS = {
  ok: ['green', '✓'],
  warning: ['yellow', '!'],
  problem: ['red', '✗'],
  skipped: ['dim', '–'],
} as const;
const NAME_COLUMNS = 20;
const INDENT = 4 + NAME_COLUMNS;

/** Prints each finding as it is made. @returns whether there is no problem */
export async function doctor(options: DoctorCommand): Promise<boolean> {
  const { terminal, json } = options;
  const found: Finding[] = [];
  let group: string | undefined;
  const target = options.url ? { url: options.url, token: options.token } : null;
  for await (const finding of examine({ env: options.env, probe: target })) {
    found.push(finding);
    if (json) terminal.print(JSON.stringify(finding));
    else {
      if (finding.group !== group)
        terminal.print(`${group ? '\n' : ''}${terminal.paint('bold', finding.group)}`);
      group = finding.group;
      terminal.print(line(printable(finding), terminal));
    }
  }
  const of = (verdict: Finding['verdict']) =>
    found.filter((finding) => finding.verdict === verdict).length;
  if (!json) terminal.print(`\n${summary(of('problem'), of('warning'), terminal)}`);
  return of('problem') === 0;
}

function line({ name, verdict, detail, fix }: Finding, terminal: Terminal): string {
  const [style, sign] = SIGNS[verdict];
  const indented = (words: string) => wrap(words, terminal.textColumns, INDENT);
  const gap =
    name.length < NAME_COLUMNS ? ' '.repeat(NAME_COLUMNS - name.length) : `\n${' '.repeat(INDENT)}`;
  const text = `  ${terminal.paint(style, sign)} ${name}${gap}${indented(detail)}`;
  return fix
    ? `${text}\n${' '.repeat(INDENT)}${indented(`${terminal.paint('bold', 'do:')} ${fix}`)}`
    : text;
}

function summary(problems: number, warnings: number, terminal: Terminal): string {
  const also = warnings > 0 ? `, ${counted(warnings, 'warning')}` : '';
  return problems > 0
    ? terminal.paint('red', `${counted(problems, 'problem')}${also}`)
    : terminal.paint('green', `no problem${also}`);
}

export interface DoctorCommand {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where clients connect; null sends no probe. */
  readonly url: string | null;
  readonly token: string | null;
  /** A finding a line. */
  readonly json: boolean;
  readonly terminal: Terminal;
}
