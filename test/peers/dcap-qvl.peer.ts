/**
 * Our verdicts on TDX quotes with collateral beside those of dcap-qvl, at the version of dcap-qvl/Cargo.lock: the status
 * that both give a platform, too. `scripts/test-engines`.
 */

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { count } from '../support/long.ts';
import { needs } from '../support/machine-needs.ts';
import { compare, Peer } from './verdicts/comparison.ts';
import { assertAgreement, assertNeeded } from './verdicts/report.ts';
import { tdxTrials } from './verdicts/tdx-trials.ts';
import { vectorTrials } from './verdicts/vector-trials.ts';

/** Changing it changes every case. */
const SEED = 'enclaim peers 1';

describe('dcap-qvl', needs('cargo'), () => {
  let peer: Peer;
  before(() => {
    // Kept, as Go keeps what it made: it is most of the minutes.
    const kept = join(import.meta.dirname, '../../.cache/peers/dcap-qvl');
    const words = ['build', '--release', '--locked', '--quiet', '--target-dir', kept];
    execFileSync('cargo', words, { cwd: join(import.meta.dirname, 'dcap-qvl'), stdio: 'inherit' });
    peer = new Peer('dcap-qvl', join(kept, 'release/dcap-qvl-peer'));
  });
  after(() => peer?.close());

  test('TDX quotes with collateral', async (t) => {
    const tallies = await compare(peer, tdxTrials(SEED, count(1500, 8000), 'tdx-status'));
    assertAgreement(t, tallies);
    const needed = [...tallies.values()].flatMap(({ explained }) => [...explained.keys()]);
    assertNeeded('dcap-qvl', new Set(needed));
  });

  test('vectors of others', needs('vectors'), async (t) => {
    assertAgreement(t, await compare(peer, await vectorTrials('tdx-quotes', 'tdx-status')), 'vectors');
  });
});
