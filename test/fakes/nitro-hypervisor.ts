/** The Nitro hypervisor in software: attestation documents under a root of its own. */

import { sign } from 'node:crypto';
import { type CborValue, encodeCbor, encodeSign1 } from '../../attestation/src/cbor/index.ts';
import { authority, EPOCH, FakeIdentity, pinOf } from './certificates.ts';

const ES384 = -35;
const THREE_HOURS = 10_800_000;

/** Fields of a document's payload; undefined leaves one out. */
export type FakeNitroFields = Readonly<Record<string, CborValue | undefined>>;

export class FakeNitroHypervisor {
  readonly root: FakeIdentity = new FakeIdentity('aws.nitro-enclaves', 'ecdsa-sha384');
  readonly zonal: FakeIdentity = new FakeIdentity('zonal', 'ecdsa-sha384');
  readonly enclave: FakeIdentity = new FakeIdentity('enclave', 'ecdsa-sha384');
  readonly rootDer: Uint8Array;
  readonly zonalDer: Uint8Array;
  readonly leafDer: Uint8Array;

  /** @param from milliseconds since 1970 from which the enclave's key is certified, for three hours */
  constructor(from: number = EPOCH) {
    const { root, zonal, enclave } = this;
    this.rootDer = root.root();
    this.zonalDer = root.certify({ subject: zonal.subject, spki: zonal.spki, extensions: authority(0) });
    const { subject, spki } = enclave;
    this.leafDer = zonal.certify({ subject, spki, notBefore: from, notAfter: from + THREE_HOURS });
  }

  /** Pins under which its documents verify. */
  get pins(): `sha256:${string}`[] {
    return [pinOf(this.rootDer)];
  }

  /** Registers 0 to 2, each with its own bytes, are set; the others are not there. */
  document(changes: FakeNitroFields = {}): Promise<Uint8Array> {
    const fields: FakeNitroFields = {
      module_id: 'i-0123456789abcdef0-enc0123456789abcdef0',
      timestamp: EPOCH + 1000,
      digest: 'SHA384',
      pcrs: new Map([0, 1, 2].map((index) => [index, new Uint8Array(48).fill(index + 1)])),
      certificate: this.leafDer,
      cabundle: [this.rootDer, this.zonalDer],
      public_key: null,
      user_data: null,
      nonce: null,
      ...changes,
    };
    const given = Object.entries(fields).filter((entry): entry is [string, CborValue] => entry[1] !== undefined);
    return encodeSign1(ES384, encodeCbor(new Map(given)), async (message) =>
      sign('sha384', message, { key: this.enclave.privateKey, dsaEncoding: 'ieee-p1363' }),
    );
  }
}
