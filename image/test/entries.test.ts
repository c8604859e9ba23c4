/** What is bundled into the VM's programs: every package by name, so that a new one is seen before it is measured. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { projectRoot } from '../src/index.ts';
import { compileEntries } from '../src/programs/compile.ts';
import { ENTRIES } from '../src/programs/entries.ts';

const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  'enclaim/guest.mjs': ['@bufbuild/protobuf', '@noble/hashes', 'canonicalize', 'zod'],
  'enclaim/runtime.mjs': [
    '@bufbuild/protobuf',
    '@grpc/grpc-js',
    '@js-sdsl/ordered-map',
    '@noble/hashes',
    'canonicalize',
    'zod',
  ],
  'enclaim/worker.mjs': [],
};

test('each program holds exactly these packages, and docs/security/dependencies.md names each of them', async () => {
  const documented = readFileSync(join(projectRoot, 'docs/security/dependencies.md'), 'utf8');
  for (const { entry, sources } of await compileEntries(projectRoot, ENTRIES)) {
    const names = sources.flatMap((source) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1] ?? []);
    assert.deepEqual([...new Set(names)].sort(), PACKAGES[entry.path], entry.path);
    for (const name of names) assert(documented.includes(`\`${name}\``), `docs/security/dependencies.md: ${name}`);
  }
});

test('no program holds a mark of a defence, or any other comment of ours', async () => {
  for (const { entry, code } of await compileEntries(projectRoot, ENTRIES)) {
    const text = Buffer.from(code).toString();
    assert.doesNotMatch(text, /\blayer: [a-z]/, entry.path);
    assert.doesNotMatch(text, /\*\*(?:Leak|Bound|Cost|Trust|Spec)\*\*/, entry.path);
  }
});
