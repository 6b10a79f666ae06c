/**
 * Comments, SQL and Markdown keep to 100 columns, but for tables, drawings and addresses. No
 * comment begins with a pronoun without its noun.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const MAX_COLUMNS = 100;
/** Openings that name no thing: the reader has to look for what is meant. */
const DANGLING = /^(Of|Those|That|Whoever|What|None|One that|So many)\b/;

const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { encoding: 'utf8' })
  .trim()
  .split('\n')
  .filter((file) => /\.(ts|tsx|mjs|cjs|sql|md|sh)$|^\.ci\//.test(file));

/** Lines of a file that are prose, each with the text that a comment on it begins with. */
function* proseOf(file, lines) {
  if (file.endsWith('.md')) {
    let isCode = false;
    for (const [n, line] of lines.entries()) {
      if (line.startsWith('```')) isCode = !isCode;
      else if (!isCode && !line.startsWith('|') && !/^\S*(\[.*\]\()?https?:\S+$/.test(line.trim()))
        yield { n, line, opening: '' };
    }
    return;
  }
  let isBlock = false;
  for (const [n, line] of lines.entries()) {
    const text = line.trim();
    const marks = /\.sh$|^\.ci/.test(file) ? /^(#)\s?(.*)/ : /^(\/\*\*?|\/\/|--)\s?(.*)/;
    const starts = marks.exec(text);
    const isComment = isBlock || starts !== null;
    const isFirst = starts !== null && !/^(\/\/|--)/.test((lines[n - 1] ?? '').trim());
    const second = isBlock && lines[n - 1]?.trim() === '/**' ? text.replace(/^\*\s?/, '') : '';
    if (isComment || file.endsWith('.sql'))
      yield { n, line, opening: isFirst ? (starts?.[2] ?? '') : second };
    if (text.startsWith('/*')) isBlock = true;
    if (text.includes('*/')) isBlock = false;
  }
}

/** Tables and drawings are indented in a comment; an address cannot be broken. */
function isDrawing(line) {
  return (
    (/^\s*(\*|--)\s*( {4}|\|)/.test(line) && /[─│▶▲|]/.test(line)) || /https?:\/\/\S{40}/.test(line)
  );
}

const problems = [];
for (const file of files) {
  if (file.startsWith('CHANGELOG') || /(schema|capture-function)\.sql$/.test(file)) continue;
  const lines = readFileSync(file, 'utf8').split('\n');
  for (const { n, line, opening } of proseOf(file, lines)) {
    if ([...line].length > MAX_COLUMNS && !isDrawing(line))
      problems.push(`${file}:${n + 1}: ${[...line].length} columns`);
    if (DANGLING.test(opening))
      problems.push(`${file}:${n + 1}: begins with "${opening.split(' ')[0]}"`);
  }
}
for (const problem of problems) process.stderr.write(`${problem}\n`);
process.exitCode = problems.length === 0 ? 0 : 1;
