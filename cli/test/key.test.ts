/** Keys at the command line: made for their user alone, over nothing, and named as policies name them. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parsePolicy } from '@enclaim/policy-schema';

const main = join(import.meta.dirname, '../src/main.ts');
const clinic = join(import.meta.dirname, '../../examples/clinic/policy.yaml');
const folder = await mkdtemp(join(tmpdir(), 'enclaim-key-'));
after(() => rm(folder, { recursive: true }));

function enclaim(...args: readonly string[]) {
  const umask = process.umask(0);
  try {
    return spawnSync(process.execPath, [main, 'key', ...args], { cwd: folder, encoding: 'utf8' });
  } finally {
    process.umask(umask);
  }
}

test('a new key is its user’s alone, and both halves have the one name that a policy takes', async () => {
  const made = enclaim('new', 'owner.pem', '--public', 'owner.pub.pem');
  assert.equal(made.status, 0, made.stderr);
  assert.match(made.stdout, /^ed25519:[A-Za-z0-9_-]{43}\n$/);
  assert.equal((await stat(join(folder, 'owner.pem'))).mode & 0o777, 0o600);
  for (const half of ['owner.pem', 'owner.pub.pem']) assert.equal(enclaim('show', half).stdout, made.stdout);
  assert.deepEqual(JSON.parse(enclaim('show', 'owner.pem', '--json').stdout), { key: made.stdout.trim() });
  assert.doesNotMatch(await readFile(join(folder, 'owner.pub.pem'), 'utf8'), /PRIVATE/);
  const contact = 'contact: privacy@clinic.example';
  const text = (await readFile(clinic, 'utf8')).replace(contact, `${contact}, key: "${made.stdout.trim()}"`);
  assert.equal(parsePolicy(text).system.owner.key, made.stdout.trim());
});

test('a key is written over nothing, and what is no key has no name', async () => {
  await writeFile(join(folder, 'there.pem'), 'mine');
  const over = enclaim('new', 'there.pem');
  assert.equal(over.status, 2);
  assert.match(over.stderr, /there\.pem is there already; nothing was written/);
  assert.equal(await readFile(join(folder, 'there.pem'), 'utf8'), 'mine');
  const before = await readdir(folder);
  assert.equal(enclaim('new', 'no/such/folder.pem').status, 2);
  assert.deepEqual(await readdir(folder), before);
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  await writeFile(join(folder, 'ec.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }));
  for (const [file, message] of [
    ['ec.pem', /a key of type ec, not Ed25519/],
    ['there.pem', /no key that a policy can name/],
    ['none.pem', /cannot be read/],
  ] as const) {
    const { status, stdout, stderr } = enclaim('show', file);
    assert.deepEqual([status, stdout], [2, '']);
    assert.match(stderr, message);
  }
});
