/**
 * Our verdicts beside those of Go's verifiers: go-sev-guest, go-tdx-guest, go-tpm-tools, go-eventlog and the checksum
 * database's notes and trees, at the versions of go-verifiers/go.mod. `scripts/test-engines`.
 */

import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { count } from '../support/long.ts';
import { needs } from '../support/machine-needs.ts';
import { compare, Peer } from './verdicts/comparison.ts';
import type { Disagreement } from './verdicts/disagreements.ts';
import { noteTrials, proofTrials, tilePathTrials, treeTrials } from './verdicts/log-trials.ts';
import { assertAgreement, assertNeeded } from './verdicts/report.ts';
import { snpTrials } from './verdicts/snp-trials.ts';
import { tdxTrials } from './verdicts/tdx-trials.ts';
import { eventLogTrials, quoteTrials } from './verdicts/tpm-trials.ts';
import type { Trial } from './verdicts/trial.ts';
import { vectorTrials } from './verdicts/vector-trials.ts';

/** Changing it changes every case. */
const SEED = 'enclaim peers 1';

const GENERATED: Readonly<Record<string, () => Iterable<Trial>>> = {
  'SEV-SNP reports, by go-sev-guest': () => snpTrials(SEED, count(1500, 6000)),
  'TDX quotes, by go-tdx-guest': () => tdxTrials(SEED, count(1200, 5000), 'tdx'),
  'event logs, by go-eventlog': () => eventLogTrials(SEED, count(1600, 8000)),
  'TPM quotes, by go-tpm-tools': () => quoteTrials(SEED, count(1200, 5000)),
  'signed notes, by x/mod': () => noteTrials(SEED, count(1600, 8000)),
  'tree heads, by x/mod': () => treeTrials(SEED, count(1500, 5000)),
  'proofs, by x/mod': () => proofTrials(SEED, count(600, 4000)),
  'tile paths, by x/mod': () => tilePathTrials(SEED, count(2000, 5000)),
};

describe("Go's verifiers", needs('go'), () => {
  let folder: string;
  let peer: Peer;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'enclaim-go-verifiers-'));
    const program = join(folder, 'go-verifiers');
    execFileSync('go', ['build', '-o', program, '.'], {
      cwd: join(import.meta.dirname, 'go-verifiers'),
      stdio: 'inherit',
    });
    peer = new Peer('go', program);
  });
  after(async () => {
    await peer?.close();
    await rm(folder, { recursive: true });
  });

  const needed = new Set<Disagreement>();
  for (const [name, trials] of Object.entries(GENERATED)) {
    test(name, async (t) => {
      const tallies = await compare(peer, trials());
      for (const { explained } of tallies.values()) for (const row of explained.keys()) needed.add(row);
      assertAgreement(t, tallies);
    });
  }
  for (const topic of ['snp-reports', 'tdx-quotes', 'tpm-eventlogs', 'tpm-quotes', 'tlog']) {
    test(`vectors of others: ${topic}`, needs('vectors'), async (t) => {
      assertAgreement(t, await compare(peer, await vectorTrials(topic)), 'vectors');
    });
  }
  test('every known disagreement was met', () => assertNeeded('go', needed));
});
