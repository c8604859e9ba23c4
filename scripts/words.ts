/**
 * Refuses habits of comments and documents that hide who acts (CONTRIBUTING.md). Every room has
 * none, and no number says otherwise. `node scripts/words.ts ROOM` looks at one room.
 */

import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './imports.ts';
import { MAY_IMPORT } from './room-table.ts';

/**
 * Words in the place of an actor. Actors are caller, handler, worker, runtime, supervisor, host,
 * subprocessor, owner, verifier, auditor.
 */
const HIDDEN =
  /\b(somebody|someone|somebody's|nobody|nobody's|whoever|whom|whomever|what of it|anybody|anyone else|others)\b/i;
/** A first sentence says what a thing is; these begin one that goes on from another. */
const BEGINS = /^(What|Who|Whom|Whose|Those|Of|And|Whether or not)\b/;
const MAX_COLUMNS = 100;

interface Habit {
  readonly place: string;
  readonly what: string;
}

const ROOMS: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(Object.keys(MAY_IMPORT).map((room) => [room, [`${room}/src/**/*.ts`]])),
  scripts: ['scripts/*.ts', 'bench/*.ts'],
  docs: ['docs/**/*.md', '*.md', '*/README.md'],
};

const [, , wanted, ...more] = process.argv;
const rooms = wanted === undefined ? Object.keys(ROOMS) : [wanted];
if (more.length > 0 || (wanted !== undefined && !Object.hasOwn(ROOMS, wanted)))
  throw new Error(`words: expected one of ${Object.keys(ROOMS).join(', ')}, or nothing`);
const found = rooms
  .flatMap((room) =>
    globSync([...(ROOMS[room] ?? [])], { cwd: root, exclude: ['**/node_modules/**', '**/gen/**', 'CHANGELOG.md'] }),
  )
  .sort()
  .flatMap(habitsOf);
for (const { place, what } of found) console.error(`${place}: ${what}`);
if (found.length > 0) process.exitCode = 1;
else console.log(`words: none that hides who acts in ${rooms.join(', ')}`);

function habitsOf(path: string): Habit[] {
  const lines = readFileSync(join(root, path), 'utf8').split('\n');
  return path.endsWith('.md') ? habitsOfText(path, lines) : habitsOfComments(path, lines);
}

function habitsOfText(path: string, lines: readonly string[]): Habit[] {
  let isCode = false;
  return lines.flatMap((line, at) => {
    if (line.trimStart().startsWith('```')) isCode = !isCode;
    return isCode ? [] : hiddenIn(line.replaceAll(/`[^`]*`/g, ''), `${path}:${at + 1}`);
  });
}

function habitsOfComments(path: string, lines: readonly string[]): Habit[] {
  return lines.flatMap((line, at) => {
    const comment = /^\s*(?:\/\*\*?|\*(?!\/)|\/\/)\s?(.*?)(?:\*\/)?$/.exec(line)?.[1] ?? /\s\/\/ (.*)$/.exec(line)?.[1];
    if (comment === undefined) return [];
    const place = `${path}:${at + 1}`;
    const isFirst = /^\s*\/\*\*/.test(line) || (/^\s*\*/.test(line) && /^\s*\/\*\*\s*$/.test(lines[at - 1] ?? ''));
    return [
      ...hiddenIn(comment, place),
      ...(line.length > MAX_COLUMNS ? [{ place, what: `${line.length} columns` }] : []),
      ...(isFirst && BEGINS.test(comment.trim()) ? [{ place, what: `begins: ${comment.trim().slice(0, 60)}` }] : []),
    ];
  });
}

function hiddenIn(text: string, place: string): Habit[] {
  const word = HIDDEN.exec(text)?.[0];
  return word === undefined ? [] : [{ place, what: `${word}: ${text.trim().slice(0, 90)}` }];
}
