/** Google's launch endorsements of GCE firmware, made with a test CA. */

import { fromHex, toBase64, toHex } from '../../../attestation/src/bytes.ts';
import {
  type AuthenticatedGceEndorsement,
  appraiseGceEndorsement,
  type EndorsedLaunch,
  type GceGolden,
  verifyGceEndorsement,
} from '../../../attestation/src/gcp/index.ts';
import { parseCertificate, pinsOf } from '../../../attestation/src/x509/index.ts';
import { certificatesIn } from '../encoding.ts';
import { atLayer, type LayerRow, layerOf } from '../layer.ts';
import { type Case, compare, fileOf, type Outcome } from '../topic.ts';

export const topic = 'gcp-endorsements';

interface Expected {
  readonly result: 'accept' | 'reject';
  readonly verify_at: string;
  readonly uefi_sha384: string;
  readonly peer_error?: string;
  readonly given_snp_measurement?: string;
  readonly expected_vmsas?: number | null;
  readonly given_uefi_sha384?: string;
  readonly note?: string;
  readonly golden?: Readonly<Record<string, unknown>>;
  readonly snp_measurements_by_vmsas?: Readonly<Record<string, string>>;
  readonly tdx_measurements?: readonly unknown[];
}

/** A peer's words, and the layers of ours that they mean. */
const LAYERS: readonly LayerRow[] = [
  [/UEFI .* does not match/, ['appraisal'], /gce\.firmware/],
  [/does not match/, ['appraisal'], /gce\.snp/],
  [/signature is invalid/, ['signature'], /endorsement signature does not verify/],
  [/expired or is not yet valid/, ['validity'], /certificate .* is valid from/],
  [/certificate is empty/, ['chain'], /endorsement certificate does not parse/],
  [/unknown authority/, ['chain'], /did not issue|no certificate of the issuer/],
  [/empty/, ['chain'], /not pinned|no certificate|pin/],
];

export async function run(test: Case, dir: string): Promise<Outcome> {
  const expected = test.expected as Expected;
  const bytes = await fileOf(test, 'endorsement', dir);
  const roots = certificatesIn(await fileOf(test, 'trusted_root', dir));
  const pins = roots.map((der) => pinsOf(parseCertificate(der)).certificate);
  const trusted = /empty set of roots/.test(expected.note ?? '') ? [] : pins;
  let verified: AuthenticatedGceEndorsement | undefined;
  const got = await layerOf(async () => {
    verified = await verifyGceEndorsement(bytes, roots, trusted, { now: timeOf(test) });
    return appraiseGceEndorsement(verified, launchOf(expected));
  });
  if (expected.result === 'reject') return atLayer(String(expected.peer_error), got, LAYERS);
  if (verified === undefined || got !== 'accept') return { exact: false, expected: expected.result, got };
  return compare(shown(expected), describe(verified.golden, expected));
}

/** A time, or so many years after the first case's golden timestamp, which this set was made with. */
function timeOf(test: Case): number {
  const { verify_at } = test.expected as Expected;
  const years = /^(\d+) years after/.exec(verify_at)?.[1];
  return years === undefined ? Date.parse(verify_at) : Date.UTC(2026 + Number(years), 10, 20);
}

function launchOf({ given_uefi_sha384, given_snp_measurement, expected_vmsas, uefi_sha384 }: Expected): EndorsedLaunch {
  const measurement = given_snp_measurement && fromHex(given_snp_measurement);
  return {
    firmware: fromHex(given_uefi_sha384 ?? uefi_sha384),
    snp: measurement ? { measurement, vcpus: expected_vmsas ?? 'any' } : 'any',
    mrTd: 'any',
  };
}

function shown({ uefi_sha384, golden, snp_measurements_by_vmsas, tdx_measurements }: Expected): unknown {
  const { timestamp, clSpec, commit, cert, digest } = golden ?? {};
  return [uefi_sha384, snp_measurements_by_vmsas, tdx_measurements, timestamp, clSpec, commit, cert, digest];
}

function describe(golden: GceGolden, expected: Expected): unknown {
  const { seconds, nanos } = golden.timestamp;
  const time = new Date(Number(seconds) * 1000).toISOString().replace('.000Z', '');
  const snp = [...(golden.snp?.measurements ?? [])].map(([vmsas, digest]) => [String(vmsas), toHex(digest)]);
  const tdx = golden.tdx?.measurements.map(({ ramGib, earlyAccept, mrTd }) => ({
    early_accept: earlyAccept,
    mrtd: toHex(mrTd),
    ram_gib: ramGib,
  }));
  const details = {
    golden: {
      timestamp: `${time}.${String(nanos).padStart(9, '0')}Z`,
      clSpec: String(golden.clSpec),
      commit: toBase64(golden.commit),
      cert: toBase64(golden.certificate),
      digest: toBase64(golden.digest),
    },
    snp_measurements_by_vmsas: Object.fromEntries(snp),
    tdx_measurements: tdx ?? [],
  };
  return shown({ ...expected, uefi_sha384: toHex(golden.digest), ...(expected.golden && details) });
}
