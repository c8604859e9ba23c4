/** A machine without a TPM: evidence under an attestation key of this process, of boots of a policy. */

import { randomBytes } from 'node:crypto';
import type { References } from '@enclaim/attestation';
import { tpmExtraData } from '@enclaim/attestation/batch';
import { toHex, utf8 } from '@enclaim/attestation/bytes';
import { type DigestText, digestText, sha256, sha384 } from '@enclaim/attestation/digest';
import { launchCommandLine, predictPcrs, registerOf } from '@enclaim/attestation/measure';
import { merkleRoot } from '@enclaim/attestation/merkle';
import type { BootStatement, CurrentBootStatement } from '@enclaim/attestation/statement';
import { digestOfCanonical } from '@enclaim/policy-schema/admission';
import type { BootKeys } from '../../runtime/src/boot/keys.ts';
import type { HardwareEvidence } from '../../runtime/src/hardware/platform.ts';
import { type FakeAttestationKey, fakeQuote } from '../fakes/attestation-key.ts';
import { PRETEND_IMAGE, SEPARATOR } from './attested-runtime.ts';

/** A machine that was launched with a policy. */
export interface PretendMachine {
  /** Digest of the attestation key, which `references` pin. */
  readonly attestationKey: DigestText<'sha256'>;
  readonly akPublic: Uint8Array;
  readonly ekPublic: Uint8Array;
  readonly references: References;
  /** The statement of a boot, with another value for what is given. */
  statementOf(keys: BootKeys, other?: Partial<BootStatement>): BootStatement;
  /** A quote over a root and the digest of a boot statement. */
  quote(root: Uint8Array, boot: Uint8Array): HardwareEvidence;
}

/** Launches a machine. @param policy canonical bytes */
export function pretendMachine(key: FakeAttestationKey, policy: Uint8Array): PretendMachine {
  const ekPublic = utf8('an endorsement key that nobody looks at: the attestation key is pinned');
  const { akPublic } = fakeQuote({ key });
  const attestationKey = digestText('sha256', sha256(akPublic));
  const bundle = digestText('sha384', sha384(utf8('bundle')));
  const digest = digestOfCanonical(policy);
  const commandLine = launchCommandLine(PRETEND_IMAGE, digest);
  const predicted = predictPcrs(PRETEND_IMAGE, { boot: 'kernel', commandLine, policy: digest, bundle });
  const pcrs = new Map(
    Array.from({ length: 16 }, (_, index) => [index, predicted.get(index) ?? registerOf(SEPARATOR)]),
  );
  return {
    attestationKey,
    akPublic,
    ekPublic,
    references: {
      enclaim: 'references/1',
      images: [PRETEND_IMAGE],
      policy: digest,
      bundles: [bundle],
      owner: 'any',
      anchors: { attestationKeys: [attestationKey], endorsementRoots: [], unsafeSwtpmRoots: [], certificates: [] },
    },
    statementOf: (keys, other) => {
      const bootId = toHex(randomBytes(16));
      const statement: CurrentBootStatement = {
        version: 3,
        platform: 'tpm',
        bootId,
        policy: digest,
        bundle,
        image: 'pretend',
        device: { ak: attestationKey, ek: digestText('sha256', sha256(ekPublic)), ekCertificate: null },
        keys: { tls: digestText('sha256', keys.tls.spkiDigest), receipt: keys.receipt, log: keys.log },
        log: {
          origin: `pretend/${bootId}`,
          size: 0,
          root: digestText('sha256', merkleRoot([])),
          minimum: 0,
          left: 2 ** 20,
        },
        unconfined: [],
        owner: null,
        started: { at: new Date().toISOString(), strength: 'host' },
      };
      return { ...statement, ...other } as BootStatement;
    },
    quote: (root, boot) => {
      const { attest, signature } = fakeQuote({ key, pcrs, nonce: tpmExtraData(root, boot) });
      const values = [...pcrs].map(([index, value]) => ({ index, sha256: value }));
      const ek = { ekPublic, ekCertificate: new Uint8Array() };
      return { case: 'tpm', value: { attest, signature, akPublic, ...ek, pcrs: values, commandLine } };
    },
  };
}
