/**
 * `node scripts/move.ts OLD NEW [OLD NEW …]`: moves sources, or folders of them, and rewrites what
 * leads there.
 *
 * It rewrites relative paths in quotes (imports too), relative links of Markdown, paths below the
 * project's root in code, tests and documents, and entry points of packages. It prints mentions of
 * a moved file by its name alone, and leaves them. Check types, rooms and links afterwards
 * (`npm run check`).
 */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { root } from './imports.ts';

/** Files whose text may name a path. What is generated is made anew, and a lock names no source. */
const TEXTS = /\.(ts|js|mjs|json|md|proto|yaml|yml|sh|py)$|^scripts\/[a-z-]+$/;
const RELATIVE = /(['"`])(\.{1,2}\/[^'"`\s]*)\1/g;
/** A link of Markdown: its target without an anchor, and not of a scheme. */
const LINK = /(\]\()(?![a-z]+:|[#/])([^)#\s]+)/g;

const words = process.argv.slice(2).map((word) => word.replace(/\/$/, ''));
if (words.length === 0 || words.length % 2 === 1) {
  console.error('usage: node scripts/move.ts OLD NEW [OLD NEW …], of paths below the project’s root');
  process.exit(2);
}

const tracked = git('ls-files').split('\n').filter(Boolean);
const moves = movesOf(words);
const texts = new Map(tracked.filter((path) => TEXTS.test(path)).map((path) => [path, read(path)]));

for (const [from, to] of moves) {
  mkdirSync(join(root, dirname(to)), { recursive: true });
  git('mv', from, to);
}
let changed = 0;
for (const [path, text] of texts) {
  const moved = withPaths(withRelatives(path, path.endsWith('.md') ? withLinks(path, text) : text));
  if (moved === text) continue;
  writeFileSync(join(root, moves.get(path) ?? path), moved);
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

/** Each file that moves, and where to. */
function movesOf(pairs: readonly string[]): ReadonlyMap<string, string> {
  const all = new Map<string, string>();
  for (let at = 0; at < pairs.length; at += 2) {
    const [from = '', to = ''] = pairs.slice(at, at + 2);
    if (!existsSync(join(root, from))) throw new Error(`there is no ${from}`);
    const isFolder = statSync(join(root, from)).isDirectory();
    const files = isFolder ? tracked.filter((path) => path.startsWith(`${from}/`)) : [from];
    for (const path of files) {
      const target = isFolder ? join(to, relative(from, path)) : to;
      if (tracked.includes(target)) throw new Error(`there is a ${target} already`);
      all.set(path, target);
    }
  }
  return all;
}

/** Paths in quotes that are relative to their file and lead to one of ours. */
function withRelatives(path: string, text: string): string {
  const to = moves.get(path) ?? path;
  return text.replace(RELATIVE, (whole, quote: string, specifier: string) => {
    const target = relative(root, resolve(root, dirname(path), specifier));
    if (!tracked.includes(target)) return whole;
    const now = relative(dirname(to), moves.get(target) ?? target);
    return `${quote}${now.startsWith('.') ? now : `./${now}`}${quote}`;
  });
}

/** Links of Markdown that lead to one of ours. */
function withLinks(path: string, text: string): string {
  const to = moves.get(path) ?? path;
  return text.replace(LINK, (whole, before: string, link: string) => {
    const target = relative(root, resolve(root, dirname(path), link));
    // `withPaths` rewrites links of files at the root: they are paths below it.
    if (!tracked.includes(target) || (dirname(path) === '.' && to === path)) return whole;
    return `${before}${relative(dirname(to), moves.get(target) ?? target)}`;
  });
}

/** Paths below the project's root, and in a package's entry points below the package. */
function withPaths(text: string): string {
  let now = text;
  for (const [from, to] of moves) {
    now = now.replaceAll(new RegExp(`(?<![\\w./-])${RegExp.escape(from)}(?![\\w-]|\\.\\w)`, 'g'), to);
  }
  return now;
}

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

function git(...words: string[]): string {
  return execFileSync('git', words, { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 28 });
}
