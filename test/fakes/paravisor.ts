/** Azure's paravisor in software: a vTPM key, HCL reports that hold it, and quotes under it. */

import { generateKeyPairSync, sign } from 'node:crypto';
import type { VtpmQuote } from '../../attestation/src/azure/index.ts';
import { type HashName, hash } from '../../attestation/src/digest.ts';
import { attest } from '../../attestation/src/tpm/attest.ts';
import { pcrDigest } from '../../attestation/src/tpm/pcr.ts';
import { QUOTE_SELECTION } from '../../attestation/src/tpm/quote.ts';
import { tpmSignature } from '../../attestation/src/tpm/signature.ts';

const HASH_TYPES = { sha256: 1, sha384: 2, sha512: 3 } as const;
const NV_LENGTH = 2600;

/** The parts of an HCL report that tests choose. */
export interface FakeHcl {
  readonly platform: 'snp' | 'tdx';
  readonly hardwareReport: Uint8Array;
  readonly hash?: keyof typeof HASH_TYPES;
  readonly runtimeData?: Uint8Array;
}

export class FakeParavisor {
  readonly #key = generateKeyPairSync('rsa', { modulusLength: 2048 });

  /** The runtime data that names the vTPM's key. */
  runtimeData(changes: Readonly<Record<string, unknown>> = {}): Uint8Array {
    const { n } = this.#key.publicKey.export({ format: 'jwk' });
    const keys = [{ kid: 'HCLAkPub', key_ops: ['sign'], kty: 'RSA', e: 'AQAB', n }];
    const configuration = { 'console-enabled': false, 'secure-boot': true, vmUniqueId: '0' };
    const document = { keys, 'vm-configuration': configuration, 'user-data': '00'.repeat(64), ...changes };
    return Buffer.from(JSON.stringify(document));
  }

  /** What the hardware's report data must be. */
  reportData(runtimeData: Uint8Array = this.runtimeData(), name: HashName = 'sha256'): Uint8Array {
    return Buffer.concat([hash(name, runtimeData)], 64);
  }

  hclReport({ platform, hardwareReport, hash: name = 'sha256', runtimeData = this.runtimeData() }: FakeHcl): Buffer {
    const report = Buffer.alloc(Math.max(NV_LENGTH, 0x4d4 + runtimeData.length));
    report.write('HCLA');
    report.writeUInt32LE(2, 4);
    report.writeUInt32LE(0x4c0 + 20 + runtimeData.length, 8);
    report.writeUInt32LE(2, 12);
    report.set(hardwareReport, 0x20);
    report.writeUInt32LE(20 + runtimeData.length, 0x4c0);
    report.writeUInt32LE(1, 0x4c4);
    report.writeUInt32LE(platform === 'snp' ? 2 : 4, 0x4c8);
    report.writeUInt32LE(HASH_TYPES[name], 0x4cc);
    report.writeUInt32LE(runtimeData.length, 0x4d0);
    report.set(runtimeData, 0x4d4);
    return report;
  }

  /** A quote over registers 0 to 15, all zero. */
  quote(nonce: Uint8Array): VtpmQuote {
    const values = new Map(Array.from({ length: 16 }, (_, pcr) => [pcr, new Uint8Array(32)]));
    const banks = new Map([['sha256', values]] as const);
    const bytes = attest.encode({
      type: 'quote',
      qualifiedSigner: new Uint8Array(34),
      extraData: nonce,
      clockInfo: { clock: 1n, resetCount: 1, restartCount: 0, safe: true },
      firmwareVersion: 1n,
      selection: QUOTE_SELECTION,
      pcrDigest: pcrDigest('sha256', QUOTE_SELECTION, banks) ?? new Uint8Array(),
    });
    const signature = tpmSignature.encode({
      scheme: 'rsassa',
      hash: 'sha256',
      signature: sign('sha256', bytes, this.#key.privateKey),
    });
    return { attest: bytes, signature, selection: QUOTE_SELECTION, banks, expectedExtraData: nonce };
  }
}
