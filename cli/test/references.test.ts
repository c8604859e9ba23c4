/** False if this fails: references name the policy's owner unless everybody's machines are asked for in so many words. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

const main = join(import.meta.dirname, '../src/main.ts');
const clinic = join(import.meta.dirname, '../../examples/clinic/policy.yaml');
const KEY = `ed25519:${'A'.repeat(43)}`;

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-references-'));
});
after(() => rm(folder, { recursive: true }));

/** The owner in the references that a command line writes. */
async function ownerOf(policy: string, ...words: string[]): Promise<string> {
  const out = join(folder, 'references.json');
  await promisify(execFile)(process.execPath, [
    main,
    'references',
    '--policy',
    policy,
    '--any-bundle',
    ...words,
    '-o',
    out,
  ]);
  return (JSON.parse(await readFile(out, 'utf8')) as { owner: string }).owner;
}

test("the owner is the policy's own", async () => {
  const named = join(folder, 'named.yaml');
  const text = await readFile(clinic, 'utf8');
  await writeFile(
    named,
    text.replace('contact: privacy@clinic.example', `contact: privacy@clinic.example, key: "${KEY}"`),
  );
  assert.equal(await ownerOf(clinic), 'any', 'a policy that names none');
  assert.equal(await ownerOf(named), KEY);
  assert.equal(await ownerOf(named, '--any-machine'), 'any');
  assert.equal(await ownerOf(named, '--owner', KEY), KEY);
  await assert.rejects(ownerOf(named, '--owner', KEY, '--any-machine'), /exclude each other/);
});
