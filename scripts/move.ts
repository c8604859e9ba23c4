/**
 * `node scripts/move.ts OLD NEW [OLD NEW …]`: moves sources, or folders of them, and rewrites what
 * leads there.
 *
 * It rewrites relative paths in quotes (imports and entry points of packages too), relative links
 * of Markdown, and paths below the project's root in code, tests and documents, of what moves and
 * of nothing else. It prints mentions of a moved file by its name alone, and leaves them. Check
 * types, rooms and links afterwards (`npm run check`).
 */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { root } from './imports.ts';

/** Files whose text may name a path. What is generated is made anew, and a lock names no source. */
const TEXTS = /\.(ts|js|mjs|json|md|proto|yaml|yml|sh|py)$|^scripts\/[a-z-]+$/;
const RELATIVE = /(['"`])(\.{1,2}\/[^'"`\s]*)\1/g;
/** A link of Markdown: its target without an anchor, and not of a scheme. */
const LINK = /(\]\()(?![a-z]+:|[#/])([^)#\s]+)/g;

/** Each file that moves, by its path below the root, and its path afterwards. */
export type Moves = ReadonlyMap<string, string>;

if (import.meta.main) main(process.argv.slice(2).map((word) => word.replace(/\/$/, '')));

function main(words: readonly string[]): void {
  if (words.length === 0 || words.length % 2 === 1) {
    console.error('usage: node scripts/move.ts OLD NEW [OLD NEW …], of paths below the project’s root');
    process.exit(2);
  }
  const tracked = new Set(git('ls-files').split('\n').filter(Boolean));
  const moves = movesOf(words, tracked);
  const texts = new Map([...tracked].filter((path) => TEXTS.test(path)).map((path) => [path, read(path)]));

  for (const [from, to] of moves) {
    mkdirSync(join(root, dirname(to)), { recursive: true });
    git('mv', from, to);
  }
  let changed = 0;
  for (const [path, text] of texts) {
    const now = rewritten(path, text, moves, tracked);
    if (now === text) continue;
    writeFileSync(join(root, moves.get(path) ?? path), now);
    changed++;
  }
  console.log(`moved ${moves.size} files; rewrote ${changed}`);
  for (const [from, to] of moves) {
    if (basename(from) === basename(to)) continue;
    const mentions = [...texts]
      .filter(([, text]) => text.includes(basename(from)))
      .map(([path]) => moves.get(path) ?? path);
    if (mentions.length > 0) console.log(`${basename(from)} is ${basename(to)} now; named in ${mentions.join(', ')}`);
  }
}

/** Each file that pairs of files or folders move. */
function movesOf(pairs: readonly string[], tracked: ReadonlySet<string>): Moves {
  const all = new Map<string, string>();
  for (let at = 0; at < pairs.length; at += 2) {
    const [from = '', to = ''] = pairs.slice(at, at + 2);
    if (!existsSync(join(root, from))) throw new Error(`there is no ${from}`);
    const isFolder = statSync(join(root, from)).isDirectory();
    const files = isFolder ? [...tracked].filter((path) => path.startsWith(`${from}/`)) : [from];
    for (const path of files) {
      const target = isFolder ? join(to, relative(from, path)) : to;
      if (tracked.has(target)) throw new Error(`there is a ${target} already`);
      all.set(path, target);
    }
  }
  return all;
}

/**
 * A file's text after moves: what leads to a moved file, or from one, leads there again, and all
 * else stays as it is written.
 *
 * @param path the file's path before
 * @param tracked every file's path before
 */
export function rewritten(path: string, text: string, moves: Moves, tracked: ReadonlySet<string>): string {
  /** The relative way to what `way` led to; undefined if it is to stay. */
  const after = (way: string): string | undefined => {
    const target = relative('.', join(dirname(path), way));
    if (!tracked.has(target) || !(moves.has(target) || moves.has(path))) return undefined;
    return relative(dirname(moves.get(path) ?? path), moves.get(target) ?? target);
  };
  const withPaths = (part: string): string =>
    [...moves].reduce(
      (now, [from, to]) => now.replaceAll(new RegExp(`(?<![\\w./-])${RegExp.escape(from)}(?![\\w-]|\\.\\w)`, 'g'), to),
      part,
    );
  const quoted = text.replace(RELATIVE, (whole, quote: string, way: string) => {
    const now = after(way);
    return now === undefined ? whole : `${quote}${now.startsWith('.') ? now : `./${now}`}${quote}`;
  });
  if (!path.endsWith('.md')) return withPaths(quoted);
  // A link is relative to its page: the same text elsewhere may be a path below the root.
  let end = 0;
  let made = '';
  for (const { 0: whole, 1: before = '', 2: way = '', index } of quoted.matchAll(LINK)) {
    made += `${withPaths(quoted.slice(end, index))}${before}${after(way) ?? way}`;
    end = index + whole.length;
  }
  return made + withPaths(quoted.slice(end));
}

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

function git(...words: string[]): string {
  return execFileSync('git', words, { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 28 });
}
