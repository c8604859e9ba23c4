/** The end of a verdict, held against what happens there: evidence passes at the last millisecond and at none after it. */

import assert from 'node:assert/strict';
import type { References } from '@enclaim/attestation';
import { verifySaved } from '@enclaim/client';

/** Evidence holds until exactly the end that its verdict states. @returns the end, milliseconds since 1970 */
export async function endsExactly(evidence: Uint8Array, references: References, now: () => number): Promise<number> {
  const { verdict } = await verifySaved(evidence, { references, now });
  assert.equal(verdict.ok, true);
  assert.ok(verdict.end, 'what certificates vouch for ends');
  const end = Date.parse(verdict.end.notAfter);
  const ok = async (time: number): Promise<boolean> => {
    try {
      return (await verifySaved(evidence, { references, now: () => time })).verdict.ok;
    } catch (error) {
      assert.equal((error as { code?: unknown }).code, 'validity', `${error}`);
      return false;
    }
  };
  assert.ok(end >= now());
  assert.deepEqual([await ok(end), await ok(end + 1)], [true, false], verdict.end.what);
  return end;
}
