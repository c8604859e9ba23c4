/**
 * `node bench/verify.ts [RUNS]`: time of verification of whole evidence, of the launch digest, and
 * the verifier's size in a browser.
 *
 * Evidence is over a software TPM, and real for SNP, TDX, Nitro and Azure. It is compared with its
 * own signatures alone, in turn, and with @phala/dcap-qvl. Evidence that comes again has its
 * certificates, lists and collateral parsed (attestation/src/parse-once.ts); the first has not.
 * Needs swtpm, and the vectors beside the checkout.
 */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import dcap from '@phala/dcap-qvl';
import { build } from 'esbuild';
import { VENDOR_ANCHORS } from '../attestation/src/anchors.ts';
import { verifyAzureSnp } from '../attestation/src/azure/index.ts';
import { fromHex, utf8 } from '../attestation/src/bytes.ts';
import { describeSnpFirmware, snpLaunchDigest } from '../attestation/src/measure/snp.ts';
import { verifyNitro } from '../attestation/src/nitro/index.ts';
import { forgetParsed } from '../attestation/src/parse-once.ts';
import { verifySnp } from '../attestation/src/snp/index.ts';
import { quoteLength, type TdxCollateral, verifyTdx } from '../attestation/src/tdx/index.ts';
import { parsePem } from '../attestation/src/x509/index.ts';
import { connect, verifySaved } from '../client/src/index.ts';
import { fakeFirmware } from '../test/fakes/firmware.ts';
import { clinicBundle } from '../test/support/app.ts';
import { bootAttested } from '../test/support/attested-runtime.ts';
import { realAzure } from '../test/support/real-azure.ts';
import { head, measure, measureInTurn } from './measure.ts';
import { signaturesOf } from './signatures.ts';

const RUNS = Number(process.argv[2] ?? 500);
const root = join(import.meta.dirname, '..');
const vectors = join(root, '../shared/vectors');

if (!existsSync(vectors)) {
  console.log('skipped: no vectors');
  process.exit(0);
}

const read = (path: string): Uint8Array => new Uint8Array(readFileSync(join(vectors, path)));
const pem = (path: string): Uint8Array[] => parsePem(readFileSync(join(vectors, path), 'latin1'), 'CERTIFICATE');

/**
 * Measures in turn a verification of evidence that comes again, the same with nothing parsed
 * before, and its signatures alone.
 */
async function beside(name: string, runs: number, step: () => Promise<unknown>): Promise<void> {
  const { kinds, verify } = await signaturesOf(step);
  const cold = (): Promise<unknown> => {
    forgetParsed();
    return step();
  };
  // The cold run of one turn leaves all parsed for the warm run of the next.
  await measureInTurn(runs, [
    [name, step],
    ['  the first evidence: nothing parsed before', cold],
    [`  floor: ${kinds}, keys imported`, verify],
  ]);
}

const snpLeaf = read('snp-reports/teekit-gcp/vcek.der');
const snpReport = read('snp-reports/teekit-gcp/report.bin');
const amd = pem('snp-reports/trust/ask_ark_milan.pem');
const [ask = snpLeaf, ark = snpLeaf] = amd;

const padded = read('tdx-quotes/quotes/ft-gcp.dat');
const quote = padded.subarray(0, quoteLength(padded));
const json = JSON.parse(readFileSync(join(vectors, 'tdx-quotes/collateral/ft-gcp.json'), 'utf8'));
const collateral: TdxCollateral = {
  tcbInfo: utf8(json.tcb_info),
  tcbInfoSignature: fromHex(json.tcb_info_signature),
  qeIdentity: utf8(json.qe_identity),
  qeIdentitySignature: fromHex(json.qe_identity_signature),
  tcbInfoChain: parsePem(json.tcb_info_issuer_chain, 'CERTIFICATE'),
  qeIdentityChain: parsePem(json.qe_identity_issuer_chain, 'CERTIFICATE'),
  pckCrl: fromHex(json.pck_crl),
  rootCrl: fromHex(json.root_ca_crl),
};
const tdxNow = Date.UTC(2026, 6, 2);
const peerCollateral = {
  ...json,
  root_ca_crl: Buffer.from(json.root_ca_crl, 'hex'),
  pck_crl: Buffer.from(json.pck_crl, 'hex'),
  tcb_info_signature: Buffer.from(json.tcb_info_signature, 'hex'),
  qe_identity_signature: Buffer.from(json.qe_identity_signature, 'hex'),
};

head(RUNS);

const server = await bootAttested(await clinicBundle());
try {
  const channel = await connect(server.target, { references: server.references });
  const { evidence } = channel.attestation;
  channel.close();
  const { ak } = server.runtime.statement.device;
  const anchors = { ...server.references.anchors, attestationKeys: ak === null ? [] : [ak] };
  const references = { ...server.references, anchors };
  await beside('TPM: whole evidence, policy included, and appraisal', RUNS, () =>
    verifySaved(evidence, { references }),
  );
  await measure('  TCP, TLS, quote by swtpm, activation, verdict', Math.min(RUNS, 100), async () =>
    (await connect(server.target, { references: server.references })).close(),
  );
} finally {
  await server.stop();
}

const snp = { report: snpReport, leaf: snpLeaf, intermediates: [ask, ark], crl: 'none' as const };
await beside('SNP: report and chain to ARK', RUNS, () =>
  verifySnp(snp, VENDOR_ANCHORS.amd, { now: Date.UTC(2026, 8, 1) }),
);

await beside('TDX v4: quote, chain, collateral, CRLs', RUNS, () =>
  verifyTdx({ quote, collateral }, VENDOR_ANCHORS.intel, { now: tdxNow }),
);
await measure('  @phala/dcap-qvl, which skips CRL signatures', Math.min(RUNS, 200), () =>
  dcap.verify(Buffer.from(quote), peerCollateral, tdxNow / 1000),
);

const nitro = read('nitro/dstack-nsm.cose');
await beside('Nitro: document and chain', Math.min(RUNS, 200), () =>
  verifyNitro(nitro, VENDOR_ANCHORS.nitro, { now: 1_766_668_538_578 }),
);

const azure = realAzure();
await beside('Azure on SNP: report, chain, runtime data, vTPM quote', RUNS, () =>
  verifyAzureSnp(azure.evidence, VENDOR_ANCHORS.amd, { now: azure.now }),
);

const firmware = fakeFirmware({ pages: 1024 });
const launch = { vmm: 'qemu', vcpus: 4, cpuSignature: 0xa00f11, features: 1n } as const;
const direct = { kernel: new Uint8Array(32), initrd: new Uint8Array(32), commandLine: '' };
const described = await describeSnpFirmware(firmware);
await measure('SNP launch digest: 4 MiB of firmware', Math.min(RUNS, 50), () => describeSnpFirmware(firmware));
await measure('  from the precomputed firmware digest, 4 processors', Math.min(RUNS, 100), () =>
  snpLaunchDigest(described, { ...launch, direct }),
);

for (const [name, entry] of [
  ['verifier', 'attestation/src/index.ts'],
  ['SNP', 'attestation/src/snp/index.ts'],
  ['TDX', 'attestation/src/tdx/index.ts'],
] as const) {
  const { outputFiles } = await build({
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    conditions: ['default'],
    entryPoints: [join(root, entry)],
  });
  const bytes = outputFiles[0]?.contents ?? new Uint8Array();
  console.log(
    `browser, ${name}: ${(bytes.length / 1024).toFixed(0)} KiB, ${(gzipSync(bytes).length / 1024).toFixed(0)} KiB gzipped`,
  );
}
