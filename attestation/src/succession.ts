/**
 * Succession: signers of a policy say which launch takes over its sealed state
 * (docs/reference/formats.md, "Succession").
 */

import {
  type Direction,
  decodePolicy,
  diff,
  digestOfCanonical,
  type Policy,
  secondsOf,
} from '@enclaim/policy-schema/admission';
import * as z from 'zod';
import { equalBytes, fromBase64, toBase64, toBase64Url } from './bytes.ts';
import { decodeCanonical, decodeJson, encodeCanonical } from './canonical.ts';
import { type DigestText, digestText, labelled, parseDigest, type Sha256 } from './digest.ts';
import { sha256Text, sha384Text } from './digest-schema.ts';
import { type ImageReference, imageSchema } from './measure/image-reference.ts';
import { launchCommandLine, predictPcrs, SEALING_REGISTERS } from './measure/tpm-boot.ts';
import { withoutNetwork } from './network-words.ts';
import { type SignersSignature, signaturesLack, signersSignature } from './signers.ts';
import type { Ed25519Text } from './statement.ts';

export {
  HandSuccessionRequestSchema,
  HandSuccessionResponseSchema,
  ShowSuccessionRequestSchema,
  ShowSuccessionResponseSchema,
  Succession as SuccessionDescriptor,
} from './gen/enclaim/v1/succession_pb.js';

/** Bytes of a succession with both policies and all signatures. */
export const MAX_SUCCESSION_BYTES: number = 128 * 1024;
/** Signatures under one succession. */
export const MAX_SUCCESSION_SIGNATURES = 32;
/**
 * Canonical bytes of a policy, of which two fit in one succession with all that it can have else.
 */
export const MAX_SUCCEEDED_POLICY_BYTES: number = 42 * 1024;

/** A launch with a TPM, from which everybody computes the same registers. */
export interface SuccessionLaunch {
  readonly policy: DigestText<'sha384'>;
  readonly image: ImageReference;
  readonly boot: 'kernel' | 'disk';
  /** The command line passed in place of the image's own, or null if none was. */
  readonly commandLine: string | null;
}

/** The statement that the signers sign. */
export interface SuccessionDocument {
  readonly from: SuccessionLaunch;
  readonly to: SuccessionLaunch;
  /**
   * The present name of the state that passes. It changes with each succession, so that one that
   * was signed for an earlier time, or for another machine, passes nothing.
   */
  readonly state: DigestText<'sha256'>;
  /** The direction of the change of policy, as `enclaim diff` finds it. */
  readonly verdict: Direction;
  /** RFC 3339, UTC, milliseconds. */
  readonly notBefore: string;
}

/** A signer's signature over the succession's digest. */
export type SuccessionSignature = SignersSignature;

/** A succession as it is kept and handed in. */
export interface SuccessionFile {
  readonly enclaim: 'succession/1';
  readonly document: SuccessionDocument;
  /** Canonical bytes of both policies, base64. */
  readonly policies: { readonly from: string; readonly to: string };
  readonly signatures: readonly SuccessionSignature[];
}

/**
 * Kind of a succession, by which the old policy demands more or less.
 * - `place`: words of the network on the command line, or the way in which the image is booted.
 * - `stronger`: the policy, which becomes stronger or changes in words alone, on the same image.
 * - `weaker`: the policy in any other way, or the image.
 */
export type SuccessionKind = 'place' | 'stronger' | 'weaker';

/** A succession that holds by itself; its signatures are still to be counted. */
export interface ReadSuccession {
  readonly file: SuccessionFile;
  readonly digest: Sha256;
  readonly kind: SuccessionKind;
  readonly from: Policy;
  readonly to: Policy;
  /** Values of {@link SEALING_REGISTERS} of both launches. */
  readonly registers: { readonly from: readonly Uint8Array[]; readonly to: readonly Uint8Array[] };
  /** Demands of the policy that is succeeded. */
  readonly demands: { readonly signatures: number; readonly noticeSeconds: number };
}

/** Reason why a succession does not hold. */
export type SuccessionErrorCode =
  | 'format' // not a succession, or too long
  | 'policy' // a policy is none, is another than its digest says, or does not succeed the other
  | 'launch' // a command line is not the image's with the words of the network and the policy
  | 'verdict' // the direction is another than the policies have
  | 'none' // the policy has no successor
  | 'signatures'; // one is false, a stranger's, or a signer's second one; or some lack

/** A succession does not hold. */
export class SuccessionError extends Error {
  override readonly name = 'SuccessionError';
  readonly code: SuccessionErrorCode;

  constructor(code: SuccessionErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const launch: z.ZodType<SuccessionLaunch> = z.strictObject({
  policy: sha384Text,
  image: imageSchema,
  boot: z.enum(['kernel', 'disk']),
  // A signer reads it in a terminal: nothing in it may hide another part.
  commandLine: z
    .string()
    .regex(/^[ -~]{1,2048}$/)
    .nullable(),
});
const base64 = z.base64().max(MAX_SUCCESSION_BYTES);
const schema: z.ZodType<SuccessionFile> = z.strictObject({
  enclaim: z.literal('succession/1'),
  document: z.strictObject({
    from: launch,
    to: launch,
    state: sha256Text,
    verdict: z.enum(['stronger', 'weaker', 'equal', 'incomparable']),
    notBefore: z.iso.datetime({ precision: 3 }),
  }),
  policies: z.strictObject({ from: base64, to: base64 }),
  signatures: z.array(signersSignature).max(MAX_SUCCESSION_SIGNATURES),
});

/** Canonical bytes of a succession. @throws ZodError on another shape */
export function encodeSuccession(file: SuccessionFile): Uint8Array {
  return encodeCanonical(schema.parse(file));
}

/**
 * `SHA-256("enclaim/succession/v1" ‖ NUL ‖ canonical bytes of the document)`: what signers sign,
 * and the name of a succession in records.
 */
export function successionDigest(document: SuccessionDocument): Sha256 {
  return labelled('succession', encodeCanonical(document));
}

/** The name of a state once the succession of this digest has passed it. */
export function succeededState(state: DigestText<'sha256'>, digest: Sha256): DigestText<'sha256'> {
  return digestText('sha256', labelled('state', parseDigest('sha256', state), digest));
}

/** A succession without signatures. @throws SuccessionError as {@link readSuccession} */
export function proposeSuccession(
  launches: { readonly from: SuccessionLaunch; readonly to: SuccessionLaunch },
  policies: { readonly from: Uint8Array; readonly to: Uint8Array },
  { state, notBefore }: Pick<SuccessionDocument, 'state' | 'notBefore'>,
): SuccessionFile {
  const { verdict } = diff(policyOf(policies.from), policyOf(policies.to));
  const { from, to } = launches;
  const file: SuccessionFile = {
    enclaim: 'succession/1',
    document: { from, to, state, verdict, notBefore },
    policies: { from: toBase64(policies.from), to: toBase64(policies.to) },
    signatures: [],
  };
  judge(file);
  return file;
}

/** A succession with one more signature. @param sign Ed25519 signature, 64 bytes, under the key */
export function signSuccession(
  file: SuccessionFile,
  key: Ed25519Text,
  sign: (message: Uint8Array) => Uint8Array,
): SuccessionFile {
  const signature = toBase64Url(sign(successionDigest(file.document)));
  const others = file.signatures.filter((each) => each.key !== key);
  return schema.parse({ ...file, signatures: [...others, { key, signature }] });
}

/**
 * The succession of a file that people may have laid out. Everything but its signatures holds.
 * @throws SuccessionError
 */
export function readSuccession(bytes: Uint8Array): ReadSuccession {
  return judge(decoded(() => decodeJson(schema, bytes, MAX_SUCCESSION_BYTES)));
}

/**
 * The succession of canonical bytes, once the signers of the policy that is succeeded are known to
 * have signed it. Whether it is about this machine, and whether its time has come, the caller
 * decides.
 *
 * **Bound**: at most {@link MAX_SUCCESSION_SIGNATURES} signatures are verified.
 * @throws SuccessionError
 */
export async function verifySuccession(bytes: Uint8Array): Promise<ReadSuccession> {
  const read = judge(decoded(() => decodeCanonical(schema, bytes, MAX_SUCCESSION_BYTES)));
  const { succession } = read.from;
  const signers = succession === 'none' ? [] : succession.signers;
  const needed = read.demands.signatures;
  const lacking = await signaturesLack(read.digest, read.file.signatures, { signers, needed });
  if (lacking !== undefined) throw new SuccessionError('signatures', lacking);
  return read;
}

function judge(file: SuccessionFile): ReadSuccession {
  const { document } = file;
  const from = namedPolicy('from', file);
  const to = namedPolicy('to', file);
  if (from.succession === 'none') throw new SuccessionError('none', 'the policy has no successor (succession)');
  const isSamePolicy = document.from.policy === document.to.policy;
  // layer: successors name what they succeed
  if (!isSamePolicy && to.system.succeeds !== document.from.policy)
    throw new SuccessionError('policy', `the new policy succeeds ${to.system.succeeds}, not ${document.from.policy}`);
  if (to.system.name !== from.system.name)
    throw new SuccessionError('policy', `state of ${from.system.name} passes to no other system`);
  for (const each of [document.from, document.to]) refuseOtherWords(each);
  const { verdict } = diff(from, to);
  // layer: direction of a succession
  if (verdict !== document.verdict)
    throw new SuccessionError('verdict', `the new policy is ${verdict}, and the succession says ${document.verdict}`);
  const isSameImage = equalBytes(encodeCanonical(document.from.image), encodeCanonical(document.to.image));
  const kind = kindOf(isSamePolicy, isSameImage, verdict);
  const { threshold, notice } = from.succession;
  const registers = { from: registersOf(document.from), to: registersOf(document.to) };
  // layer: successors that are another launch
  if (registers.from.every((value, i) => equalBytes(value, registers.to[i] ?? new Uint8Array())))
    throw new SuccessionError('launch', 'the state would pass to the launch that it comes from');
  return {
    ...{ file, kind, from, to, registers, digest: successionDigest(document) },
    demands: {
      signatures: kind === 'place' ? 1 : threshold,
      noticeSeconds: /* layer: notice of what is weaker (off: 0) */ kind === 'weaker' ? secondsOf(notice) : 0,
    },
  };
}

function kindOf(isSamePolicy: boolean, isSameImage: boolean, verdict: Direction): SuccessionKind {
  // An image can do anything under any policy.
  if (!isSameImage) return 'weaker';
  if (isSamePolicy) return 'place';
  return verdict === 'stronger' || verdict === 'equal' ? 'stronger' : 'weaker';
}

/** The values of {@link SEALING_REGISTERS} after a launch. */
function registersOf({ image, boot, commandLine, policy }: SuccessionLaunch): Uint8Array[] {
  // The bundle's register is not among them.
  const bundle: DigestText<'sha384'> = `sha384:${'00'.repeat(48)}`;
  const registers = predictPcrs(image, { boot, commandLine, policy, bundle });
  return SEALING_REGISTERS.flatMap((index) => registers.get(index) ?? []);
}

/**
 * Refuses a command line that is more than the image's, the words of the network and the policy.
 *
 * Without this, one signature could pass state to a kernel that a word has weakened.
 */
function refuseOtherWords({ image, boot, commandLine, policy }: SuccessionLaunch): void {
  if (commandLine === null && boot === 'disk') return;
  const [before = ''] = (commandLine ?? '').split(' enclaim.policy=');
  const isUsual =
    commandLine === launchCommandLine({ commandLine: before }, policy) && withoutNetwork(before) === image.commandLine;
  // layer: words of a command line that passes state
  if (!isUsual)
    throw new SuccessionError('launch', 'a command line that is not the image’s, words of the network and the policy');
}

function namedPolicy(side: 'from' | 'to', { document, policies }: SuccessionFile): Policy {
  const bytes = decoded(() => fromBase64(policies[side]));
  const found = digestOfCanonical(bytes);
  // layer: policies of a succession
  if (found !== document[side].policy)
    throw new SuccessionError('policy', `the policy ${found} is not ${document[side].policy}`);
  return policyOf(bytes);
}

function policyOf(bytes: Uint8Array): Policy {
  try {
    return decodePolicy(bytes);
  } catch (cause) {
    throw new SuccessionError('policy', (cause as Error).message, { cause });
  }
}

function decoded<T>(decode: () => T): T {
  try {
    return decode();
  } catch (cause) {
    throw new SuccessionError('format', (cause as Error).message, { cause });
  }
}
