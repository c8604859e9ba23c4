/**
 * Counts habits of comments and documents that hide who acts (CONTRIBUTING.md), by room,
 * against numbers that may only fall. `node scripts/words.ts ROOM` lists what is counted there.
 */

import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './imports.ts';

/** Most habits of each room; a room that is not named has none. */
const AT_MOST: Readonly<Record<string, number>> = {
  'policy-schema': 236,
  attestation: 703,
  runtime: 643,
  guest: 239,
  image: 381,
  client: 93,
  cli: 148,
  scripts: 87,
  docs: 105,
};
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
  ...Object.fromEntries(
    ['policy-schema', 'attestation', 'runtime', 'guest', 'image', 'client', 'cli'].map((room) => [
      room,
      [`${room}/src/**/*.ts`],
    ]),
  ),
  scripts: ['scripts/*.ts', 'bench/*.ts'],
  docs: ['docs/**/*.md', '*.md', '*/README.md'],
};

const [, , wanted] = process.argv;
const found = new Map(
  Object.entries(ROOMS).map(([room, globs]) => [
    room,
    globSync([...globs], { cwd: root, exclude: ['**/node_modules/**', '**/gen/**', 'CHANGELOG.md'] })
      .sort()
      .flatMap(habitsOf),
  ]),
);
for (const { place, what } of found.get(wanted ?? '') ?? []) console.log(`${place}: ${what}`);
for (const [room, habits] of found) {
  const most = AT_MOST[room] ?? 0;
  if (habits.length > most) {
    console.error(`words: ${room} has ${habits.length}, at most ${most} (node scripts/words.ts ${room})`);
    process.exitCode = 1;
  } else if (habits.length < most) {
    console.error(`words: ${room} has ${habits.length}: write that number, in place of ${most}`);
    process.exitCode = 1;
  }
}
if (process.exitCode === undefined)
  console.log(`words: ${[...found].map(([room, habits]) => `${room} ${habits.length}`).join(', ')}`);

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
