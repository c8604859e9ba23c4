/** SEV-SNP and TDX as the runtime sees them: 64 bytes in, hardware evidence out. */

import { concat } from '@enclaim/attestation/bytes';
import { parseCertificateTable } from '@enclaim/attestation/snp';
import { quoteLength } from '@enclaim/attestation/tdx';
import type { AttestingPlatform, HardwareEvidence } from '@enclaim/runtime';
import { type TsmDevice, TsmError, type TsmReport } from './report.ts';

/** Drivers by platform. */
const PROVIDERS = { sev_guest: 'snp', tdx_guest: 'tdx' } as const;

/**
 * The platform behind a device.
 * @param commandLine as this kernel was started with, without the line's end
 * @throws TsmError `unavailable` where the driver is not one of ours
 */
export async function openTsmPlatform(device: TsmDevice, commandLine: string): Promise<AttestingPlatform> {
  const kind = platformOf(await device.report(new Uint8Array(64)));
  return {
    kind,
    device: { ak: null, ek: null, ekCertificate: null },
    sign: async (root, boot) => EVIDENCE[kind](await device.report(concat(root, boot)), commandLine),
    activate: () => Promise.reject(new TsmError('unavailable', `${kind} has no key to activate`)),
  };
}

function platformOf({ provider }: TsmReport): 'snp' | 'tdx' {
  if (provider === 'sev_guest' || provider === 'tdx_guest') return PROVIDERS[provider];
  throw new TsmError('unavailable', `reports by ${provider}, expected ${Object.keys(PROVIDERS).join(' or ')}`);
}

const EVIDENCE: Readonly<Record<'snp' | 'tdx', (report: TsmReport, commandLine: string) => HardwareEvidence>> = {
  snp: ({ outblob, auxblob }, commandLine) => {
    const table = auxblob.length === 0 ? [] : parseCertificateTable(auxblob);
    const find = (...kinds: string[]): Uint8Array[] =>
      kinds.flatMap((kind) => table.filter((entry) => entry.kind === kind).map(({ data }) => data));
    const certificates = find('VCEK', 'VLEK', 'ASK', 'ARK');
    const [crl = new Uint8Array()] = find('CRL');
    return { case: 'snp', value: { report: outblob, certificates, crl, commandLine } };
  },
  tdx: ({ outblob }, commandLine) => {
    const quote = outblob.subarray(0, quoteLength(outblob));
    return { case: 'tdx', value: { quote, commandLine } };
  },
};
