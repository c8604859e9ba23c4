/** AWS Nitro Enclaves attestation documents. */

import { VENDOR_ANCHORS } from '../../../attestation/src/anchors.ts';
import { toHex } from '../../../attestation/src/bytes.ts';
import {
  type AuthenticatedNitro,
  appraiseNitro,
  NITRO_CAREFUL,
  type NitroDocument,
  verifyNitro,
} from '../../../attestation/src/nitro/index.ts';
import { atLayer, type LayerRow, layerOf } from '../layer.ts';
import { type Case, compare, fileOf, type Outcome } from '../topic.ts';

export const topic = 'nitro';

interface Expected {
  readonly result: 'accept' | 'reject';
  readonly verify_at_ms: number;
  readonly peer_error?: string;
  readonly [key: string]: unknown;
}

/** A peer's words, and the layers of ours that they mean. */
const LAYERS: readonly LayerRow[] = [
  [/signature does not match/, ['signature'], /COSE signature does not verify/],
  [/algorithm/, ['signature'], /COSE algorithm/],
  [/expired or is not yet valid/, ['validity'], /certificate .* is valid from/],
  [/unknown authority|certificate/, ['chain'], /did not issue|no certificate of the issuer/],
  [/not a COSESign1|Data is/, ['format'], /Nitro document does not parse/],
];

export async function run(test: Case, dir: string): Promise<Outcome> {
  const expected = test.expected as Expected;
  const doc = await fileOf(test, 'doc', dir);
  let verified: AuthenticatedNitro | undefined;
  const got = await layerOf(async () => {
    verified = await verifyNitro(doc, VENDOR_ANCHORS.nitro, { now: expected.verify_at_ms });
    return [];
  });
  if (expected.result === 'reject') return atLayer(String(expected.peer_error), got, LAYERS);
  if (verified === undefined) return { exact: false, expected: expected.result, got };
  const { verify_at_ms, ...facts } = expected;
  // A debug document is authentic; what a case calls debug mode is what appraisal must refuse.
  const checks = appraiseNitro(verified, { ...NITRO_CAREFUL, pcrs: new Map() });
  const debug = checks.some(({ id, outcome }) => id === 'nitro.debug' && outcome === 'failed');
  return compare(facts, { ...describe(verified.document), result: got, debug_mode: debug });
}

function describe(document: NitroDocument): Record<string, unknown> {
  const hex = (bytes: Uint8Array | undefined): string | null => (bytes === undefined ? null : toHex(bytes));
  return {
    module_id: document.moduleId,
    timestamp: document.timestamp,
    digest: 'SHA384',
    pcrs: Object.fromEntries([...document.pcrs].map(([index, value]) => [String(index), toHex(value)])),
    public_key: hex(document.publicKey),
    user_data: hex(document.userData),
    nonce: hex(document.nonce),
    cabundle_len: document.caBundle.length,
  };
}
