/** IETF RATS formats: EAR tokens and claims, CoRIM, CoMID and CoEV. */

import { createPublicKey } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { decodeCbor } from '../../../attestation/src/cbor/index.ts';
import { isTagged } from '../../../attestation/src/cbor/value.ts';
import {
  checkSnpProfile,
  type EarClaims,
  parseCoev,
  parseComid,
  parseCorim,
  parseEarClaims,
  verifyCorim,
  verifyEar,
} from '../../../attestation/src/rats/index.ts';
import { atLayer, layerOf } from '../layer.ts';
import { type Case, fileOf, type Outcome } from '../topic.ts';

export const topic = 'rats';

interface Expected {
  readonly result: 'accept' | 'reject';
  readonly reject_at?: string;
  readonly peer_error?: string;
  readonly alg?: string;
  readonly form?: string;
  readonly claims?: unknown;
}

/** Words of the manifests and their peers, and the layers of ours that they mean. */
const LAYERS: readonly (readonly [RegExp, readonly string[]])[] = [
  [/signature/i, ['signature']],
  [/mandatory|invalid|missing/, ['format']],
];

const ALGORITHMS = { ES256: -7, ES384: -35, EdDSA: -8 } as const;

/** A time at which the signed example is valid, as its own metadata has it. */
const NOW = Date.UTC(2024, 0, 1);

export async function run(test: Case, dir: string): Promise<Outcome> {
  const expected = test.expected as Expected;
  let claims: EarClaims | undefined;
  const got = await layerOf(async () => {
    if (test.files.token) claims = await runToken(test, dir, expected);
    else if (test.files.claims) parseEarClaims(await fileOf(test, 'claims', dir));
    else await runCbor(test, dir);
    return [];
  });
  if (expected.result === 'reject') {
    // A case without words is about the format of a document that nobody signed.
    return atLayer(expected.reject_at ?? expected.peer_error ?? 'invalid', got, LAYERS);
  }
  const same = expected.claims === undefined || isDeepStrictEqual(claims, expected.claims);
  return { exact: got === expected.result && same, expected: expected.claims ?? expected.result, got: claims ?? got };
}

async function runToken(test: Case, dir: string, expected: Expected): Promise<EarClaims> {
  const token = Buffer.from(await fileOf(test, 'token', dir))
    .toString()
    .trim();
  return verifyEar(token, await keyOf(test, dir), expected.alg as keyof typeof ALGORITHMS);
}

async function keyOf(test: Case, dir: string): Promise<Uint8Array> {
  const jwk = JSON.parse(Buffer.from(await fileOf(test, 'key', dir)).toString());
  return createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'der' });
}

async function runCbor(test: Case, dir: string): Promise<void> {
  if (test.files.corim) return checkSnpProfile(parseCorim(await fileOf(test, 'corim', dir)));
  const bytes = await fileOf(test, 'cbor', dir);
  if (test.files.key) {
    await verifyCorim(bytes, await keyOf(test, dir), ALGORITHMS.ES256, { now: NOW });
    return;
  }
  // What a document is, it says by its tag; a bare map is a CoMID.
  const value = decodeCbor(bytes);
  const tag = isTagged(value) ? value.tag : undefined;
  if (tag === 501) parseCorim(bytes);
  else if (tag === 571) parseCoev(bytes);
  else parseComid(bytes);
}
