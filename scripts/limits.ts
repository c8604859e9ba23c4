/**
 * `node scripts/limits.ts`: writes docs/reference/constants.md from the exported limits of the
 * rooms, each with its value, its file and the sentence above it. `--check` fails if the page says
 * something else.
 */

import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './imports.ts';

/** A limit as its source declares it. */
interface Limit {
  readonly name: string;
  readonly value: string;
  readonly meaning: string;
  readonly file: string;
}

const PAGE = 'docs/reference/constants.md';
const ROOMS = ['policy-schema', 'attestation', 'runtime', 'guest', 'client', 'image', 'cli'];
/** A comment for documents, then an exported constant of a limit with a value on one line. */
const LIMIT = /(?:^\/\*\*((?:(?!\*\/).)*)\*\/\n)?^export const ((?:MAX|MIN)_[A-Z0-9_]+)(?:: \w+)? = ([^\n;]+);/gms;

/** The exported limits of a room, by name. */
export function limitsOf(room: string): Limit[] {
  const limits: Limit[] = [];
  for (const file of globSync(`${room}/src/**/*.ts`, { cwd: root }).sort())
    for (const [, comment = '', name = '', value = ''] of readFileSync(join(root, file), 'utf8').matchAll(LIMIT))
      limits.push({ name, value, meaning: oneLine(comment), file });
  return limits.sort((one, other) => (one.name < other.name ? -1 : 1));
}

/** The page. */
export function limitsMarkdown(): string {
  const sections = ROOMS.map((room) => [room, limitsOf(room)] as const).filter(([, limits]) => limits.length > 0);
  const tables = sections.map(([room, limits]) => {
    const rows = limits.map(
      ({ name, value, meaning, file }) => `| \`${name}\` | \`${value}\` | ${meaning} | \`${file}\` |`,
    );
    return `## ${room}\n\n| limit | value | means | in |\n| --- | --- | --- | --- |\n${rows.join('\n')}\n`;
  });
  return `# Limits as the code has them

For reviewers and operators who look a bound up. Afterwards you know its value, its unit (the end of its name) and where it is held. It
rests on the sources: \`node scripts/limits.ts\` makes this page of them, and a test holds it. What callers are told at a limit is in
[limits](limits.md), what handlers meet in [handlers](../start/handlers.md#bounds).

${tables.join('\n')}`;
}

function oneLine(comment: string): string {
  const text = comment
    .replaceAll(/^\s*\* ?/gm, '')
    .replace(/^@.*/ms, '')
    .replaceAll(/\s+/g, ' ')
    .trim();
  return text.replaceAll(/\{@link (\w+)\}/g, '`$1`').replaceAll('|', '\\|') || '–';
}

if (import.meta.main) {
  const made = limitsMarkdown();
  if (!process.argv.includes('--check')) writeFileSync(join(root, PAGE), made);
  else if (readFileSync(join(root, PAGE), 'utf8') !== made) {
    console.error(`limits: ${PAGE} is not what the sources say (node scripts/limits.ts)`);
    process.exitCode = 1;
  }
}
