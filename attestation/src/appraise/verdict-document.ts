/**
 * Verdict document: a verdict as JSON, for a program or an auditor elsewhere
 * (docs/audit/verdict.md, "Verdict").
 */

import * as z from 'zod';
import { decodeJson } from '../canonical.ts';
import type { DigestText } from '../digest.ts';
import { sha256Text, sha384Text } from '../digest-schema.ts';
import { DecodeError } from '../errors.ts';
import { PREDICTED_REGISTERS } from '../measure/index.ts';
import { type ComparedMessages, type ReceiptBody, receiptSchema } from '../receipt.ts';
import { PLATFORMS } from '../statement.ts';
import { allPassed, type Check, type Verdict } from '../verdict/verdict.ts';

/** A verdict, when it was reached, and the time that certificates were held against. */
export interface VerdictDocument {
  readonly enclaim: 'verdict/1';
  /** When it was reached. RFC 3339, UTC, milliseconds. */
  readonly at: string;
  /**
   * Time that certificates, collateral and deployments were compared with, in the same form. It
   * differs from `at` if the caller asked for another time.
   */
  readonly asOf: string;
  readonly verdict: Verdict;
  /** The receipt that the verdict's boot signed, of a receipt file. */
  readonly receipt?: ShownReceipt;
  /** The verified claim about a log, of a proof file or COSE receipt. */
  readonly record?: ShownClaim;
}

/** A receipt, and what of the call it was held against. */
export type ShownReceipt = ReceiptBody & {
  /** `not run`: the file holds no messages. */
  readonly messages: ComparedMessages | 'not run';
  /** The way to a quote of the hardware; absent if the file holds none. */
  readonly proof?: ShownProof;
};

/** A tree of a log. */
interface ShownTree {
  readonly origin: string;
  readonly size: number;
  /** Hexadecimal, without a prefix. */
  readonly root: string;
}

/** The way of a record to a quote. */
export interface ShownProof extends ShownTree {
  readonly index: number;
  /** Hashes above the record's leaf. */
  readonly pathLength: number;
  /** The checkpoint's leaf in the quote's batch. */
  readonly batch: { readonly index: number; readonly size: number; readonly pathLength: number };
  /** The checkpoint, as a signed note. */
  readonly note: string;
  /** Boots after the record's, the oldest first; absent if the file holds none. */
  readonly later?: readonly ShownBoot[];
}

/** A later boot, whose tree continues that of the boot before. */
export interface ShownBoot extends ShownTree {
  readonly boot: string;
  /** Records that it found. */
  readonly began: number;
  /** Records before those that no quote in the file covers. */
  readonly uncovered: number;
  readonly platform: Verdict['platform'];
  readonly policy: Verdict['policy'];
  /** Whether the references accept it. */
  readonly ok: boolean;
}

/** A claim about a log, which was verified. */
export type ShownClaim =
  | ({ readonly kind: 'quoted'; readonly record: DigestText<'sha256'> } & ShownProof)
  | ({ readonly kind: 'inclusion'; readonly index: number; readonly record: DigestText<'sha256'> } & ShownTree)
  | ({ readonly kind: 'consistency'; readonly old: number; readonly oldRoot: string } & ShownTree);

const checkSchema: z.ZodType<Check> = z
  .strictObject({
    id: z.string().regex(/^[a-z][A-Za-z0-9.-]{0,63}$/),
    outcome: z.enum(['passed', 'failed', 'not run']),
    required: z.boolean(),
    detail: z.string().max(64 * 1024),
    strength: z.enum(['measured', 'enforced', 'observed', 'asserted']).exactOptional(),
  })
  .refine(({ outcome, required }) => required === (outcome !== 'not run'), 'required is a check that was run');

const count = z.int().nonnegative();
/** Later boots of one document: as many as a chain may have. */
const MAX_SHOWN_BOOTS = 256;
const BOOT_ID = /^[0-9a-f]{32}$/;
const hash = z.string().regex(/^[0-9a-f]{64}$/);
const tree = { origin: z.string().max(128), size: count, root: hash };
const way = {
  ...tree,
  index: count,
  pathLength: count,
  batch: z.strictObject({ index: count, size: count, pathLength: count }),
  note: z.string().max(64 * 1024),
  later: z
    .array(
      z.strictObject({
        ...tree,
        boot: z.string().regex(BOOT_ID),
        ...{ began: count, uncovered: count },
        ...{ platform: z.enum(PLATFORMS), policy: sha384Text, ok: z.boolean() },
      }),
    )
    .min(1)
    .max(MAX_SHOWN_BOOTS)
    .exactOptional(),
};
const claimSchema: z.ZodType<ShownClaim> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('quoted'), record: sha256Text, ...way }),
  z.strictObject({ kind: z.literal('inclusion'), index: count, record: sha256Text, ...tree }),
  z.strictObject({ kind: z.literal('consistency'), old: count, oldRoot: hash, ...tree }),
]);
const shownSchema: z.ZodType<ShownReceipt> = receiptSchema({
  messages: z.enum(['both', 'prefix', 'response', 'not run']),
  proof: z.strictObject(way).exactOptional(),
});

const schema: z.ZodType<VerdictDocument> = z.strictObject({
  enclaim: z.literal('verdict/1'),
  at: z.iso.datetime({ precision: 3 }),
  asOf: z.iso.datetime({ precision: 3 }),
  verdict: z.strictObject({
    ok: z.boolean(),
    platform: z.enum(PLATFORMS),
    policy: sha384Text,
    bundle: sha384Text,
    bootId: z.string().regex(BOOT_ID),
    end: z.strictObject({ notAfter: z.iso.datetime({ precision: 3 }), what: z.string().min(1).max(256) }).nullable(),
    checks: z.array(checkSchema).min(1).max(512),
  }),
  receipt: shownSchema.exactOptional(),
  record: claimSchema.exactOptional(),
});

const LIMIT = 4 * 1024 * 1024;

/**
 * Checks that every verdict shows. Only a check with a question mark may be shown as not run, with
 * the reason.
 */
const ALWAYS = [
  'quote.signature',
  'quote.key',
  'quote.statement',
  'nonce?',
  'channel?',
  'policy.binding',
  'policy',
  'bundle',
  'confinement',
  'owner?',
  'deployment?',
  'references.validity?',
  'boot.started',
  'log.images?',
  'log.policy?',
];

/** Checks that every verdict of a platform shows beside these. */
interface Shown {
  readonly always: readonly string[];
  /**
   * Checks that compare with images. If the references name no image, one failed check "image"
   * stands for all of them.
   */
  readonly image: readonly string[];
}

const REGISTERS = [
  'firmware',
  ...Array.from({ length: 16 }, (_, index) => `register.${index}${PREDICTED_REGISTERS.includes(index) ? '' : '?'}`),
];
const SNP = [
  ...[
    'version',
    'product?',
    'vmpl',
    'guest-svn?',
    'family-id?',
    'image-id?',
    'abi?',
    'policy.smt',
    'policy.migrationAgent',
    'policy.debug',
    'policy.cxl',
  ],
  ...['platform.tio', 'platform.known', 'mitigations.launch?', 'mitigations.current?'],
  ...['platform.smt', 'platform.aliasCheck', 'tcb.reported?', 'tcb.committed?', 'tcb.current?', 'tcb.launch?'],
  ...['provisional', 'id-key?', 'author-key?', 'host-data?', 'revocation'],
].map((name) => `snp.${name}`);
const TDX = [
  ...['mr-config-id?', 'mr-owner?', 'mr-owner-config?', 'mr-seam?', 'xfam?', 'service-td?', 'tcb', 'tcb.current'],
  'tcb.evaluation?',
  ...['debug', 'migratable', 'tpa', 'perfmon', 'known', 'septVeDisable'].map((bit) => `attributes.${bit}`),
].map((name) => `tdx.${name}`);
/** A paravisor handles #VE itself. */
const PARAVISED = TDX.map((id) => (id === 'tdx.attributes.septVeDisable' ? `${id}?` : id));

const OF_PLATFORM: Readonly<Partial<Record<string, Shown>>> = {
  tpm: { always: [], image: REGISTERS },
  snp: { always: [], image: ['image', ...SNP] },
  tdx: { always: ['quote.events?'], image: ['tdx.mrtd', ...[0, 1, 2, 3].map((index) => `tdx.rtmr${index}`), ...TDX] },
  'azure-snp': { always: ['azure.paravisor', ...SNP], image: REGISTERS },
  'azure-tdx': { always: ['azure.paravisor', ...PARAVISED], image: REGISTERS },
  nitro: { always: [], image: ['nitro.pcr0', 'nitro.pcr1', 'nitro.pcr2', 'nitro.debug'] },
};

/**
 * The checks that a platform shows. On GCE the checks themselves tell which of two processors it
 * is.
 */
function shownOn(platform: string, ids: Iterable<string>): Shown {
  if (platform === 'gcp') {
    const silicon = [...ids].some((id) => id.startsWith('tdx.')) ? TDX : SNP;
    return { always: ['gcp.firmware', 'gcp.revocation?', ...silicon], image: REGISTERS };
  }
  const shown = OF_PLATFORM[platform];
  if (shown === undefined) throw new DecodeError('syntax', `no verifier makes a verdict of platform ${platform}`, 0);
  return shown;
}

/**
 * The document of a verdict.
 *
 * @param times milliseconds since 1970
 * @param shown what else the verified file holds
 */
export function verdictDocument(
  verdict: Verdict,
  times: { readonly at: number; readonly asOf: number },
  shown: Pick<VerdictDocument, 'receipt' | 'record'> = {},
): VerdictDocument {
  const [at, asOf] = [times.at, times.asOf].map((time) => new Date(time).toISOString()) as [string, string];
  return { enclaim: 'verdict/1', at, asOf, verdict, ...shown };
}

/**
 * Reads a document.
 *
 * **Trust**: it has no signature (an EAR is signed). It is at least a document that a verifier
 * could have made: no check that is always shown is missing, no check that is always run was
 * waived, and `ok` agrees with the checks.
 * @throws DecodeError `syntax`, `range`
 */
export function parseVerdictDocument(bytes: Uint8Array): VerdictDocument {
  const document = decodeJson(schema, bytes, LIMIT);
  const { ok, checks, platform } = document.verdict;
  const ids = new Map(checks.map(({ id, outcome }) => [id, outcome]));
  const { always, image } = shownOn(platform, ids.keys());
  const excused = ids.get('image') === 'failed' && !image.some((id) => id !== 'image' && ids.has(id.replace('?', '')));
  const missing = [...ALWAYS, ...always, ...(excused ? [] : image)].find((id) =>
    id.endsWith('?') ? !ids.has(id.slice(0, -1)) : (ids.get(id) ?? 'not run') === 'not run',
  );
  if (missing !== undefined) {
    throw new DecodeError('syntax', `a verdict without its check ${missing.replace('?', '')}`, 0);
  }
  if (ids.size !== checks.length) throw new DecodeError('syntax', 'a check that stands twice', 0);
  if (ok !== allPassed(checks)) throw new DecodeError('syntax', `ok is ${ok}, the checks say otherwise`, 0);
  return document;
}

/** JSON Schema (2020-12) of the document. */
export function verdictJsonSchema(): object {
  return z.toJSONSchema(schema);
}
