/** Evidence that was accepted on Node: no byte of it can be changed, and a browser says the same of it. */

import assert from 'node:assert/strict';
import type { References, Verdict } from '@enclaim/attestation';
import { verifySaved } from '@enclaim/client';
import { AuditorsPage } from './auditors-page.ts';
import { now } from './silicon.ts';

/** Evidence, what it was held against, and its verdict on a connection. */
export interface ShownEvidence {
  readonly evidence: Uint8Array;
  readonly references: References;
  readonly verdict: Verdict;
}

/** Changes one bit of every so many bytes; each is refused as evidence, or is not ok. @param stride where the environment names none */
export async function refuseEveryChange(
  { evidence, references, verdict: { platform } }: ShownEvidence,
  stride: number,
): Promise<void> {
  const step = Number(process.env.ENCLAIM_TEST_STRIDE ?? stride);
  const accepted: number[] = [];
  let changes = 0;
  for (let at = 0; at < evidence.length; at += step) {
    const changed = Uint8Array.from(evidence);
    changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
    changes++;
    const ok = await verifySaved(changed, { references, now }).then(
      ({ verdict }) => verdict.ok,
      (error: Error) => {
        assert.equal(error.name, 'EvidenceError', `byte ${at}: ${error}`);
        return false;
      },
    );
    if (ok) accepted.push(at);
  }
  assert.deepEqual(accepted, []);
  console.log(`${platform}: ${changes} single-byte changes of ${evidence.length} bytes refused`);
}

/** Every check has the same outcome there; what needs a connection is not run. */
export async function agreeInBrowser(all: readonly ShownEvidence[]): Promise<void> {
  await using auditor = await AuditorsPage.open();
  await auditor.fill('now', new Date(now()).toISOString());
  for (const { evidence, references, verdict } of all) {
    const { head, rows } = await auditor.show(evidence, JSON.stringify(references));
    assert.equal(head, 'Verdict: ok');
    const offline = (id: string): boolean => id === 'nonce' || id === 'channel';
    const made = verdict.checks.filter(({ id }) => !offline(id)).map(({ id, outcome }) => [outcome, id]);
    const there = rows.filter(([, id = '']) => !offline(id)).map(([outcome = '', id]) => [outcome.split(',')[0], id]);
    assert.deepEqual(there, made);
    const changed = Uint8Array.from(evidence);
    changed[changed.length >> 1] = (changed[changed.length >> 1] ?? 0) ^ 1;
    assert.equal((await auditor.show(changed, JSON.stringify(references))).head, 'Refused');
  }
}
