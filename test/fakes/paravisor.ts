/** Azure's paravisor in software: a vTPM key, HCL reports that hold it, and quotes under it. */

import type { VtpmQuote } from '../../attestation/src/azure/index.ts';
import { type HashName, hash } from '../../attestation/src/digest.ts';
import { FakeVtpm } from './vtpm.ts';

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
  readonly vtpm: FakeVtpm = new FakeVtpm();

  /** The runtime data that names the vTPM's key. */
  runtimeData(changes: Readonly<Record<string, unknown>> = {}): Uint8Array {
    const keys = [{ kid: 'HCLAkPub', key_ops: ['sign'], kty: 'RSA', e: 'AQAB', n: this.vtpm.modulus }];
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

  /** A quote over registers 0 to 15. */
  quote(nonce: Uint8Array): VtpmQuote {
    return this.vtpm.quote(nonce);
  }
}
