/**
 * The lock is written as it is read, holds exactly what is used, and is refused in any other form.
 */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { kernelOf } from '../src/build/kernel.ts';
import { NODE_PACKAGE, STUB_PACKAGE, TAKEN_FILES } from '../src/contents.ts';
import { ImageError } from '../src/errors.ts';
import { projectRoot } from '../src/inputs/fetch.ts';
import { FIRMWARE } from '../src/inputs/firmware.ts';
import { formatLock, type LockedInput, parseLock } from '../src/inputs/lock.ts';

const text = readFileSync(join(projectRoot, 'image/lock.json'), 'utf8');
const { inputs } = parseLock(text);

test('the lock is written as it is read, and holds exactly what the image and its reference values come from', () => {
  assert.equal(formatLock(inputs), text);
  const taken = [...TAKEN_FILES, FIRMWARE.snp, FIRMWARE.tdx].map(({ input }) => input);
  const used = new Set([kernelOf({ version: 1, inputs }).input, STUB_PACKAGE, ...taken]);
  assert.deepEqual(
    inputs.map(({ name }) => name),
    [...used].sort(),
  );
});

test('the Node of the image is the Node that builds and tests', () => {
  const { packages } = JSON.parse(readFileSync(join(projectRoot, 'scripts/bootstrap/package-lock.json'), 'utf8'));
  const { version, integrity } = packages[`node_modules/${NODE_PACKAGE}`];
  const locked = inputs.find(({ name }) => name === NODE_PACKAGE);
  assert.ok(locked?.kind === 'npm');
  assert.deepEqual([locked.version, locked.integrity], [version, integrity]);
  assert.equal(process.version, `v${version}`);
});

const deb = inputs.find((input) => input.kind === 'deb') as LockedInput;
const npm = inputs.find((input) => input.kind === 'npm') as LockedInput;
const HOSTILE: readonly [string, unknown][] = [
  ['no object', 'x'],
  ['another kind', { ...deb, kind: 'rpm' }],
  ['a field missing', { ...deb, sha256: undefined }],
  ['a field too many', { ...deb, mirror: 'anything' }],
  ['an inherited name as a field', { ...deb, constructor: 1 }],
  ['a path that climbs', { ...deb, path: 'pool/../../etc/passwd.deb' }],
  ['a path with a host', { ...deb, path: '//evil/pool/a.deb' }],
  ['a path with a query', { ...deb, path: 'pool/a.deb?x=.deb' }],
  ['a size of zero', { ...deb, size: 0 }],
  ['a size of text', { ...deb, size: '1' }],
  ['a short hash', { ...deb, sha256: 'ab' }],
  ['an upper-case hash', { ...deb, sha256: 'A'.repeat(64) }],
  ['a package name that is an option', { ...npm, name: '--registry=x' }],
  ['a package name with a path', { ...npm, name: '../x' }],
  ['a version that is a URL', { ...npm, version: 'git+ssh://x' }],
  ['a version that is a tag', { ...npm, version: 'latest' }],
  ['a weaker hash', { ...npm, integrity: 'sha1-AAAA' }],
];

for (const [name, entry] of HOSTILE) {
  test(`refused: ${name}`, () => {
    const lock = JSON.stringify({ version: 1, inputs: [entry] });
    assert.throws(
      () => parseLock(lock),
      (error) => error instanceof ImageError && error.code === 'lock-invalid',
    );
  });
}

test('a lock that is not JSON, of another version, unsorted or with doubles is refused', () => {
  for (const lock of [
    '',
    '{}',
    '[]',
    '{"version":2,"inputs":[]}',
    '{"version":1,"inputs":[],"x":1}',
    '{"version":1,"inputs":{}}',
  ]) {
    assert.throws(() => parseLock(lock), ImageError, lock);
  }
  for (const list of [
    [npm, deb],
    [deb, deb],
  ]) {
    assert.throws(() => parseLock(JSON.stringify({ version: 1, inputs: list })), ImageError);
  }
  assert.deepEqual(parseLock('{"version":1,"inputs":[]}').inputs, []);
});
