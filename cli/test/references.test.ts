/** False if this fails: references name the policy's owner unless everybody's machines are asked for in so many words. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { parseReferences } from '@enclaim/attestation';
import { parsePolicy, policyDigest } from '@enclaim/policy-schema';

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

test('that any owner is accepted is said, unless it was asked for', async () => {
  const said = async (...words: string[]): Promise<string> => {
    const args = ['references', '--policy', clinic, '--any-bundle', ...words, '-o', join(folder, 'said.json')];
    return (await promisify(execFile)(process.execPath, [main, ...args])).stderr;
  };
  assert.match(await said(), /^owner any: the policy names no key/m);
  assert.doesNotMatch(await said('--any-machine'), /owner any/);
  assert.doesNotMatch(await said('--owner', KEY), /owner any/);
});

test('a rollout accepts the policy of before for a window, and nothing without its end', async () => {
  const text = await readFile(clinic, 'utf8');
  const [policy, before] = [join(folder, 'new.yaml'), join(folder, 'before.yaml')];
  await writeFile(policy, text.replace('P30D', 'P29D'));
  await writeFile(before, text);
  const out = join(folder, 'rollout.json');
  const write = (...words: string[]) =>
    promisify(execFile)(process.execPath, [
      main,
      'references',
      '--policy',
      policy,
      '--any-bundle',
      ...words,
      '-o',
      out,
    ]);
  const day = 24 * 3_600_000;
  const until = new Date(Date.now() + day).toISOString();
  const { stderr } = await write('--earlier', before, '--until', until);
  assert.match(stderr, /^beside it, from \S+ to \S+: sha384:/m);
  const references = parseReferences(await readFile(out));
  const [earlier, more] = references.rollout ?? [];
  assert.equal(more, undefined);
  assert.equal(earlier?.policy, policyDigest(parsePolicy(text)));
  assert.deepEqual([earlier?.bundles, earlier?.notAfter], ['any', until]);
  assert.notEqual(references.policy, earlier?.policy);
  const REFUSED: readonly [string[], RegExp][] = [
    [['--earlier', before], /--until is missing/],
    [['--until', until], /are of an --earlier policy/],
    [['--earlier', before, '--until', '2020-01-01T00:00:00Z'], /is over before it begins/],
    [['--earlier', before, '--from', '2999-01-02T00:00:00Z', '--until', '2999-01-01T00:00:00Z'], /is over before/],
    [['--earlier', before, '--until', new Date(Date.now() + 367 * day).toISOString()], /more than 366 days/],
    [['--earlier', policy, '--until', until], /is accepted for good/],
    [['--owner', KEY, '--earlier', before, '--until', until], /names owner none, and the references ed25519:/],
    [['--earlier', main, '--until', until], /PolicyError/],
  ];
  for (const [words, message] of REFUSED) await assert.rejects(write(...words), { message });
  const noBundle = [main, 'references', '--bundle', before, '--earlier', before, '--until', until, '-o', out];
  await assert.rejects(promisify(execFile)(process.execPath, noBundle), /magic|no app bundle/);
});
