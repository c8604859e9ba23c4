/** What a run says at its start of callers that ask for no evidence: what the policy makes of them, and never less. */

import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { buildBundle, findApp } from '@enclaim/image';
import { answersPlainly, servingDocument } from '../src/run.ts';
import { jsonOf } from './json-of.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-run-'));
after(() => rm(scratch, { recursive: true }));
const clinic = join(import.meta.dirname, '../../examples/clinic');

test('where it serves is one line of JSON, with the roots of a software TPM or null', () => {
  const document = servingDocument({ port: 4242, tpmAuthority: { root: 'a b.pem', issuer: 'c\n.pem' } });
  assert.ok(!document.includes('\n'));
  assert.deepEqual(jsonOf('run', document), {
    address: '127.0.0.1:4242',
    softwareTpm: { root: 'a b.pem', issuer: 'c\n.pem' },
  });
  assert.equal(jsonOf('run', servingDocument({ port: 1, tpmAuthority: null })).softwareTpm, null);
});

const SAID: readonly (readonly [attested: string | null, said: RegExp])[] = [
  [null, /^plain h2 is answered, too: a caller that asks for no evidence has checked nothing/],
  ['personal', /^calls are answered on enclaim-h2 alone: the policy refuses them on plain h2$/],
  ['[clinic.v1.Intake/Read]', /^plain h2 is answered by clinic\.v1\.Intake\/Submit alone: /],
];
for (const [attested, said] of SAID)
  test(`a run under a policy with access.attested ${attested ?? 'left out'}`, async () => {
    const app = await mkdtemp(join(scratch, 'app-'));
    await cp(clinic, app, { recursive: true });
    const policy = join(app, 'policy.yaml');
    if (attested !== null)
      await writeFile(policy, `${await readFile(policy, 'utf8')}\naccess:\n  attested: ${attested}\n`);
    const { bytes } = await buildBundle(await findApp(app));
    const file = join(app, 'app.enclaim');
    await writeFile(file, bytes);
    assert.match(await answersPlainly(file), said);
  });

test('of a disk it is said that the policy decides', async () => {
  assert.match(await answersPlainly(undefined), /on plain h2 where the policy lets them: a caller .* nothing/);
});
