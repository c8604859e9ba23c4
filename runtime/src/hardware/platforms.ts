/**
 * The hardware behind the supervisor: which one it is, its answers, and the evidence that the
 * runtime makes of them.
 */

import { concat, fromBase64 } from '@enclaim/attestation/bytes';
import { parseCertificateTable } from '@enclaim/attestation/snp';
import { quoteLength } from '@enclaim/attestation/tdx';
import type { BootHardware, QuoteAnswer } from '../control.ts';
import { RefusalError } from '../errors.ts';
import type { AttestingPlatform, HardwareEvidence } from './platform.ts';

/** The use of the hardware that the runtime can ask for. */
export interface HardwareUse {
  /** Hands over the statement that every quote must cover. */
  state?(statement: Uint8Array): Promise<void>;
  /** @param data root and digest of the boot statement, 64 bytes */
  quote(data: Uint8Array): Promise<QuoteAnswer>;
  activate(credentialBlob: Uint8Array, encryptedSecret: Uint8Array): Promise<Uint8Array>;
}

/**
 * Activations that wait.
 *
 * **Bound**: a client may ask for one before anything is known of it. Each takes a TPM two
 * milliseconds, or tenths of a second as a chip, and quotes need that time too. Activations go to
 * the TPM one at a time, so that a quote waits for at most one.
 */
const MAX_ACTIVATIONS = 64;

/**
 * The platform of this hardware.
 *
 * @param commandLine as measured; empty if a TPM measured none
 */
export function platformOn(hardware: BootHardware, commandLine: string, use: HardwareUse): AttestingPlatform {
  return hardware.kind === 'tpm'
    ? tpmPlatform(hardware, commandLine, use)
    : reportingPlatform(hardware, commandLine, use);
}

function tpmPlatform(
  tpm: Extract<BootHardware, { kind: 'tpm' }>,
  commandLine: string,
  use: HardwareUse,
): AttestingPlatform {
  let activating = 0;
  let last: Promise<unknown> = Promise.resolve();
  const akPublic = fromBase64(tpm.akPublic);
  const ekPublic = fromBase64(tpm.ekPublic);
  const ekCertificate = tpm.ekCertificate === null ? null : fromBase64(tpm.ekCertificate);
  return {
    kind: 'tpm',
    device: { ak: akPublic, ek: ekPublic, ekCertificate },
    ...stating(use),
    sign: async (root, boot) => {
      const { attest, signature, pcrs } = answerOf('tpm', await use.quote(concat(root, boot)));
      return {
        case: 'tpm',
        value: {
          attest: fromBase64(attest),
          signature: fromBase64(signature),
          akPublic,
          ekPublic,
          ekCertificate: ekCertificate ?? new Uint8Array(),
          pcrs: pcrs.map((value, index) => ({ index, sha256: fromBase64(value) })),
          commandLine,
        },
      };
    },
    activate: async (blob, secret) => {
      if (activating >= MAX_ACTIVATIONS) throw new RefusalError('budget', 'too many activations are under way');
      activating++;
      const own = last.then(() => use.activate(blob, secret));
      // The next activation waits for the end of this one, however it ends.
      last = own.catch(() => {});
      try {
        return await own;
      } finally {
        activating--;
      }
    },
  };
}

/** A processor that reports on its guest. */
function reportingPlatform(
  hardware: Extract<BootHardware, { kind: 'snp' | 'tdx' }>,
  commandLine: string,
  use: HardwareUse,
): AttestingPlatform {
  const { kind } = hardware;
  const eventLog = kind === 'tdx' && hardware.eventLog !== null ? fromBase64(hardware.eventLog) : undefined;
  return {
    kind,
    device: { ak: null, ek: null, ekCertificate: null },
    ...stating(use),
    ...(eventLog === undefined ? {} : { eventLog }),
    sign: async (root, boot) => {
      const { outblob, auxblob } = answerOf(kind, await use.quote(concat(root, boot)));
      const [report, more] = [fromBase64(outblob), fromBase64(auxblob)];
      return kind === 'snp'
        ? snpEvidence(report, more, commandLine)
        : {
            case: 'tdx',
            value: { quote: report.subarray(0, quoteLength(report)), commandLine, eventLog: eventLog ?? NONE },
          };
    },
    activate: () => Promise.reject(new RefusalError('channel', `platform ${kind} has no key to activate`)),
  };
}

function stating(use: HardwareUse): Pick<AttestingPlatform, 'state'> {
  return use.state === undefined ? {} : { state: (statement) => use.state?.(statement) ?? Promise.resolve() };
}

const NONE = new Uint8Array();

/**
 * Evidence of SEV-SNP.
 *
 * @param more a certificate table, or nothing. **Trust**: it comes from the host
 */
function snpEvidence(report: Uint8Array, more: Uint8Array, commandLine: string): HardwareEvidence {
  const table = more.length === 0 ? [] : parseCertificateTable(more);
  const find = (...kinds: string[]): Uint8Array[] =>
    kinds.flatMap((kind) => table.filter((entry) => entry.kind === kind).map(({ data }) => data));
  const [crl = NONE] = find('CRL');
  return { case: 'snp', value: { report, certificates: find('VCEK', 'VLEK', 'ASK', 'ARK'), crl, commandLine } };
}

function answerOf<K extends QuoteAnswer['kind']>(kind: K, answer: QuoteAnswer): Extract<QuoteAnswer, { kind: K }> {
  if (answer.kind !== kind) throw new Error(`a quote by ${answer.kind}, expected ${kind}`);
  return answer as Extract<QuoteAnswer, { kind: K }>;
}
