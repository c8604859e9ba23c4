/** No relative link of a document leads nowhere: neither its file, nor its heading, nor a page that code names. No name is placed where it is not declared. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '..');
const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter(Boolean);
const files = new Set(tracked);
const folders = new Set(tracked.flatMap((path) => ancestors(path)));
const documents = tracked.filter((path) => path.endsWith('.md') && !path.startsWith('test/vectors/'));

function ancestors(path: string): string[] {
  const parent = dirname(path);
  return parent === '.' ? [''] : [parent, ...ancestors(parent)];
}

/** Text without blocks of code, where brackets are no links and `#` is no heading. */
function prose(path: string): string {
  return readFileSync(join(root, path), 'utf8').replace(/^```.*?^```$/gms, '');
}

/** Anchors as hosts of Markdown make them of headings: lower case, words by hyphens, no other marks. */
function anchorsOf(path: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of prose(path).matchAll(/^#{1,6} (.+)$/gm)) {
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const anchor = plain.replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-');
    for (let nth = 0; ; nth++) {
      const name = nth === 0 ? anchor : `${anchor}-${nth}`;
      if (anchors.has(name)) continue;
      anchors.add(name);
      break;
    }
  }
  return anchors;
}

/** What a link of a document leads to, and why that is nowhere. */
function fault(from: string, link: string): string | null {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? from : relative(root, resolve(root, dirname(from), decodeURI(path)));
  if (!files.has(target) && !folders.has(target)) return `${from}: ${link}: there is no ${target}`;
  if (anchor === undefined) return null;
  if (!target.endsWith('.md')) return `${from}: ${link}: ${target} has no headings`;
  return anchorsOf(target).has(anchor) ? null : `${from}: ${link}: ${target} has no such heading`;
}

test('each relative link of a document leads to a file or a heading', () => {
  const faults: string[] = [];
  let compared = 0;
  for (const path of documents) {
    for (const [, link = ''] of prose(path)
      .replace(/`[^`\n]*`/g, '')
      .matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue;
      compared++;
      const found = fault(path, link);
      if (found !== null) faults.push(found);
    }
  }
  assert.ok(compared >= 50, `${compared} links were compared`);
  assert.deepEqual(faults, []);
});

/** A test that moves pages of a tree of its own. */
const MOVED = 'test/move.test.ts';

test('each page that code, a test or a document names by its path is there', () => {
  const faults: string[] = [];
  let compared = 0;
  for (const path of tracked) {
    if (!/\.(ts|js|mjs|proto|md|json|ya?ml)$/.test(path) || path.startsWith('test/vectors/')) continue;
    if (path === MOVED) continue;
    const text = readFileSync(join(root, path), 'utf8');
    for (const [page] of text.matchAll(/(?<![\w./-])docs\/[\w./-]+\.(?:md|json)\b/g)) {
      compared++;
      if (!files.has(page)) faults.push(`${path}: there is no ${page}`);
    }
  }
  assert.ok(compared >= 50, `${compared} mentions were compared`);
  assert.deepEqual(faults, []);
});

test('each source that a document names by its path is there', () => {
  const faults: string[] = [];
  let compared = 0;
  for (const path of documents.filter((name) => name !== 'CHANGELOG.md')) {
    const text = readFileSync(join(root, path), 'utf8');
    const rooms = 'attestation|policy-schema|runtime|guest|image|client|evidence|cli|test|scripts|bench|examples';
    for (const [source] of text.matchAll(
      new RegExp(`(?<![\\w./-])(?:${rooms})/[\\w./-]+\\.(?:ts|yaml|proto)\\b`, 'g'),
    )) {
      // A capital stands for a name that the reader puts there.
      if (/\/[A-Z]+\.ts$/.test(source)) continue;
      compared++;
      if (!files.has(source)) faults.push(`${path}: there is no ${source}`);
    }
  }
  assert.ok(compared >= 50, `${compared} mentions were compared`);
  assert.deepEqual(faults, []);
});

test('a link to a file or a heading that is nowhere is found', () => {
  assert.equal(fault('README.md', 'CONTRIBUTING.md'), null);
  assert.match(fault('README.md', 'LICENSE.md') ?? '', /there is no LICENSE\.md/);
  assert.match(fault('README.md', '#nowhere') ?? '', /no such heading/);
});

/** `Name` (`path.ts`), or several names before one path: what a document says to be declared there. */
const PLACED = /((?:`#?[A-Za-z][\w.]*`(?:, | and )?)+) \(`([a-z-]+\/[\w./-]+\.ts)`\)/g;

/** The names that a document places in a source which does not declare them. */
function misplaced(from: string, text: string): { readonly faults: readonly string[]; readonly compared: number } {
  const faults: string[] = [];
  let compared = 0;
  for (const [, names = '', source = ''] of text.matchAll(PLACED)) {
    const code = files.has(source) ? readFileSync(join(root, source), 'utf8') : '';
    for (const [, name = ''] of names.matchAll(/`([^`]+)`/g)) {
      compared++;
      const last = name.split('.').at(-1) ?? '';
      // A declaration, or a member of a class or of a table at the start of its line.
      const declares = new RegExp(
        `\\b(?:function\\*?|class|const|interface|type) ${last}\\b|^ +(?:async |static |get |readonly |\\*)*${last}[(<:?]`,
        'm',
      );
      if (!declares.test(code)) faults.push(`${from}: ${source} declares no ${name}`);
    }
  }
  return { faults, compared };
}

test('each name that a document places in a source is declared there', () => {
  const all = documents.map((path) => misplaced(path, readFileSync(join(root, path), 'utf8')));
  assert.deepEqual(
    all.flatMap(({ faults }) => faults),
    [],
  );
  const compared = all.reduce((sum, one) => sum + one.compared, 0);
  assert.ok(compared >= 60, `${compared} names were compared`);
});

test('a name that its source does not declare is found', () => {
  const place = (names: string): readonly string[] =>
    misplaced('x.md', `${names} (\`attestation/src/labels.ts\`)`).faults;
  assert.deepEqual(place('`LABELS`, `labelBytes`'), []);
  assert.deepEqual(place('`LABELS`, `noSuch`'), ['x.md: attestation/src/labels.ts declares no noSuch']);
  // Imported there, and not declared.
  assert.equal(place('`utf8`').length, 1);
});
