/**
 * Our launch digests beside those of sev-snp-measure, at the version of sev-snp-measure/requirements.txt.
 * `scripts/test-engines`.
 */

import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { count } from '../support/long.ts';
import { needs, PYTHON } from '../support/machine-needs.ts';
import { compare, Peer } from './verdicts/comparison.ts';
import { launchTrials } from './verdicts/launch-trials.ts';
import { assertAgreement, assertNeeded } from './verdicts/report.ts';

/** Changing it changes every case. */
const SEED = 'enclaim peers 1';

describe('sev-snp-measure', needs("python's venv"), () => {
  let folder: string;
  let peer: Peer;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'enclaim-sev-snp-measure-'));
    const from = join(import.meta.dirname, 'sev-snp-measure');
    execFileSync(PYTHON, ['-m', 'venv', folder], { stdio: 'inherit' });
    const locked = ['--require-hashes', '--only-binary', ':all:', '--no-deps', '--disable-pip-version-check'];
    const words = ['install', '-q', ...locked, '-r', join(from, 'requirements.txt')];
    execFileSync(join(folder, 'bin/pip'), words, { stdio: 'inherit' });
    peer = new Peer('sev-snp-measure', join(folder, 'bin/python'), [join(from, 'launches.py')]);
  });
  after(async () => {
    await peer?.close();
    await rm(folder, { recursive: true });
  });

  test('launch digests', async (t) => {
    const tallies = await compare(peer, launchTrials(SEED, count(1000, 5000)));
    assertAgreement(t, tallies);
    const needed = [...tallies.values()].flatMap(({ explained }) => [...explained.keys()]);
    assertNeeded('sev-snp-measure', new Set(needed));
  });
});
