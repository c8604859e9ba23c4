/**
 * Google Compute Engine in software: certificates of vTPM keys and launch endorsements, each under a root of its own, in
 * Google's formats. Nothing that it makes can verify under Google's roots.
 */

import { constants, sign } from 'node:crypto';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { authority, EPOCH, type FakeExtension, FakeIdentity, pinOf } from './certificates.ts';
import { bits, boolean, context, der, integer, oid, sequence } from './der.ts';

const EK_CERTIFICATE = '2.23.133.8.1';
const INSTANCE = '1.3.6.1.4.1.11129.2.1.21';

/** What a certificate of a vTPM's key says. What is left out has a harmless value. */
export interface FakeKeyCertificate {
  readonly purposes?: readonly string[];
  /** Bits of key usage, the first octet. */
  readonly usage?: number;
  readonly production?: boolean;
  readonly extensions?: readonly FakeExtension[];
}

/** What an endorsement says. */
export interface FakeGolden {
  readonly digest: Uint8Array;
  /** Launch digests by number of processors. */
  readonly snp?: ReadonlyMap<number, Uint8Array>;
  readonly mrTd?: Uint8Array;
  /** Milliseconds since 1970. */
  readonly timestamp?: number;
  readonly certificate?: Uint8Array;
}

export class FakeGce {
  readonly tpmRoot: FakeIdentity = new FakeIdentity('EK/AK CA Root', 'rsassa-sha256');
  readonly tpmIntermediate: FakeIdentity = new FakeIdentity('EK/AK CA Intermediate', 'rsassa-sha256');
  readonly firmwareRoot: FakeIdentity = new FakeIdentity('GCE-cc-tcb-root', 'rsassa-sha256');
  readonly signer: FakeIdentity = new FakeIdentity('GCE-uefi-signer', 'rsassa-sha256');
  readonly tpmRootDer: Uint8Array;
  readonly tpmIntermediateDer: Uint8Array;
  readonly firmwareRootDer: Uint8Array;
  readonly signerDer: Uint8Array;

  constructor() {
    const { tpmRoot, tpmIntermediate, firmwareRoot, signer } = this;
    this.tpmRootDer = tpmRoot.root();
    this.tpmIntermediateDer = tpmRoot.certify({
      subject: tpmIntermediate.subject,
      spki: tpmIntermediate.spki,
      extensions: authority(0),
    });
    this.firmwareRootDer = firmwareRoot.root();
    this.signerDer = firmwareRoot.certify({ subject: signer.subject, spki: signer.spki });
  }

  /** Pins under which both kinds of its statements verify. */
  get pins(): `sha256:${string}`[] {
    return [pinOf(this.tpmRootDer), pinOf(this.firmwareRootDer)];
  }

  /** The certificate of a vTPM's key, and those above it. */
  certificates(spki: Uint8Array, fields: FakeKeyCertificate = {}): Uint8Array[] {
    const { purposes = [EK_CERTIFICATE], usage = 0x80, production = true, extensions } = fields;
    const leaf = this.tpmIntermediate.certify({
      subject: sequence(),
      spki,
      serial: 7,
      extensions: extensions ?? [
        { oid: '2.5.29.15', critical: true, value: bits(Uint8Array.of(usage)) },
        { oid: '2.5.29.37', value: sequence(...purposes.map(oid)) },
        { oid: INSTANCE, value: instance(production) },
      ],
    });
    return [leaf, this.tpmIntermediateDer, this.tpmRootDer];
  }

  /** VMGoldenMeasurement, with a field that nobody knows. */
  golden({ digest, snp, mrTd, timestamp = EPOCH, certificate = this.signerDer }: FakeGolden): Uint8Array {
    const time = new BinaryWriter().tag(1, 0).uint64(timestamp / 1000);
    const writer = new BinaryWriter().tag(1, 2).bytes(time.finish()).tag(2, 0).uint64(4242);
    writer.tag(4, 2).bytes(certificate).tag(5, 2).bytes(digest);
    if (snp !== undefined) {
      const sev = new BinaryWriter().tag(1, 0).uint32(7);
      for (const [vmsas, value] of snp) {
        sev.tag(2, 2).bytes(new BinaryWriter().tag(1, 0).uint32(vmsas).tag(2, 2).bytes(value).finish());
      }
      writer.tag(7, 2).bytes(sev.finish());
    }
    if (mrTd !== undefined) {
      const tdx = new BinaryWriter().tag(2, 2).bytes(new BinaryWriter().tag(3, 2).bytes(mrTd).finish());
      writer.tag(8, 2).bytes(tdx.finish());
    }
    return writer.tag(99, 0).uint32(1).finish();
  }

  /** VMLaunchEndorsement. */
  endorsement(golden: Uint8Array, identity: FakeIdentity = this.signer): Uint8Array {
    const padding = constants.RSA_PKCS1_PSS_PADDING;
    const signature = sign('sha256', golden, { key: identity.privateKey, padding, saltLength: 32 });
    return new BinaryWriter().tag(1, 2).bytes(golden).tag(2, 2).bytes(signature).finish();
  }
}

function instance(production: boolean): Uint8Array {
  const text = (value: string): Uint8Array => der(0x0c, Buffer.from(value));
  const properties = sequence(context(0, integer(0)), context(1, boolean(production)), context(2, boolean(true)));
  return sequence(
    text('europe-west4-a'),
    integer(116_000_000_105),
    text('clinic-project'),
    integer(6_800_000_000_000_000_001n),
    text('intake-1'),
    context(0, properties),
  );
}
