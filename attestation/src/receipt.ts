/**
 * Receipts: the runtime's signed statement about each response (docs/reference/formats.md,
 * "Receipt").
 */

import * as z from 'zod';
import { verifySignature } from '#crypto';
import { concat, fromHex, setU64be, u64be, utf8 } from './bytes.ts';
import { checkUnicode, decodeCanonical } from './canonical.ts';
import { type DigestText, digestText, type Sha256, sha256Digest, sha256Joined, sha256JoinedDigest } from './digest.ts';
import { sha256Text, sha384Text } from './digest-schema.ts';
import { EvidenceError } from './errors.ts';
import { type Receipt, ReceiptSchema } from './gen/enclaim/v1/evidence_pb.js';
import { labelBytes } from './labels.ts';
import { leafHash, rootFromPath } from './merkle.ts';
import { decodeMessage } from './message.ts';
import { importPart } from './parse-part.ts';
import { type BootStatement, ed25519Spki } from './statement.ts';

/** The trailer that carries a receipt. */
export const RECEIPT_TRAILER = 'enclaim-receipt-bin';

/** Fields of receipts of every version. */
interface ReceiptFields {
  /** `bootDigest` of the boot that answered. */
  readonly boot: DigestText<'sha256'>;
  readonly policy: DigestText<'sha384'>;
  /** `package.Service/Method`. */
  readonly method: string;
  /**
   * 16 random bytes, hex.
   *
   * **Leak**: to a reader that does not have them, the commitments tell nothing of the messages.
   */
  readonly salt: string;
  readonly request: DigestText<'sha256'>;
  readonly response: DigestText<'sha256'>;
  /** gRPC status code of the response. */
  readonly status: number;
  /**
   * The flow decision. `label` has the categories that the call carried when it ended, or when it
   * had read what it may not return. `returned` has those of its response.
   */
  readonly decision: {
    readonly result: 'allow' | 'deny' | 'error';
    readonly label: readonly string[];
    readonly returned: readonly string[];
  };
  /** Number of this response since boot, from 0. */
  readonly sequence: number;
  /** Hash of the log record that was durable before the response left. */
  readonly record: DigestText<'sha256'>;
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string;
}

/**
 * Body of a receipt of version 1: `request` commits to all of the request, or, for a refused
 * stream, to nothing.
 */
export interface FirstReceiptBody extends ReceiptFields {
  readonly version: 1;
}

/**
 * Body of a receipt of version 2: it names how many messages of the request it covers, and covers
 * the status text.
 */
export interface SecondReceiptBody extends TakenFields {
  readonly version: 2;
}

/**
 * Body of a receipt of version 3: it names the leaf of its record and when that is under a quote,
 * and repeats the caller's nonce.
 */
export interface CurrentReceiptBody extends TakenFields {
  readonly version: 3;
  /** Index of the leaf of `record` in the log. */
  readonly index: number;
  /**
   * Milliseconds from `time` within which a checkpoint of a size above `index` is under a quote of
   * the hardware; 0 if that is made on demand.
   */
  readonly within: number;
  /**
   * The caller's nonce, hex, or null if it sent none.
   *
   * Without it, an earlier receipt of an equal call could stand for that of a later one.
   */
  readonly nonce: string | null;
}

/** Fields that bodies have since version 2. */
interface TakenFields extends ReceiptFields {
  /**
   * How many messages of the request the handler took: `request` commits to these, the first ones.
   * Null if it commits to none.
   *
   * **Leak**: it is null for a stream whose call has read what it may not return. The handler
   * chooses the number, and could tell the caller of those values by it.
   */
  readonly taken: number | null;
  /** Commitment to the text of the status; null if the status is OK. */
  readonly text: DigestText<'sha256'> | null;
}

/** The body of a receipt. */
export type ReceiptBody = FirstReceiptBody | SecondReceiptBody | CurrentReceiptBody;

/** A method that a policy can name. No character of it controls a terminal. */
const METHOD = /^(?:[A-Za-z_][A-Za-z0-9_]*\.)*[A-Za-z_][A-Za-z0-9_]*\/[A-Za-z_][A-Za-z0-9_]*$/;

const fields = {
  boot: sha256Text,
  policy: sha384Text,
  method: z.string().max(1024).regex(METHOD),
  salt: z.string().regex(/^[0-9a-f]{32}$/),
  request: sha256Text,
  response: sha256Text,
  status: z.int().min(0).max(16),
  decision: z.strictObject({
    result: z.enum(['allow', 'deny', 'error']),
    label: z.array(z.string()),
    returned: z.array(z.string()),
  }),
  sequence: z.int().nonnegative(),
  record: sha256Text,
  time: z.iso.datetime({ precision: 3 }),
};
const takenFields = { ...fields, taken: z.int().nonnegative().nullable(), text: sha256Text.nullable() };
const currentFields = {
  ...takenFields,
  index: z.int().nonnegative(),
  within: z.int().nonnegative(),
  nonce: z
    .string()
    .regex(/^(?:[0-9a-f]{2}){16,32}$/)
    .nullable(),
};

/** The schema of a body with further members beside its own. */
export function receiptSchema<More>(more: z.core.$ZodLooseShape): z.ZodType<ReceiptBody & More> {
  const schema: z.ZodType = z.discriminatedUnion('version', [
    z.strictObject({ version: z.literal(1), ...fields, ...more }),
    z.strictObject({ version: z.literal(2), ...takenFields, ...more }),
    z.strictObject({ version: z.literal(3), ...currentFields, ...more }),
  ]);
  return schema as z.ZodType<ReceiptBody & More>;
}

const bodySchema: z.ZodType<ReceiptBody> = receiptSchema({})
  .refine((body) => body.version === 1 || (body.status === 0) === (body.text === null), 'no text, or one of OK')
  .refine(
    (body) => body.version === 1 || body.status !== 0 || body.taken !== null,
    'an OK that does not say what was taken',
  );

/** The contents of a commitment: the messages of one direction, or the text of the status. */
export type Committed = 'request' | 'response' | 'status';

const COMMITMENT_LABELS: Readonly<Record<Committed, Uint8Array>> = {
  request: labelBytes('request'),
  response: labelBytes('response'),
  status: labelBytes('status'),
};
/** Bytes of a message whose commitment is put together in one place. */
const MAX_SMALL_MESSAGE = 16 * 1024;
/** Space for a label, a salt, a length and a small message. */
const SMALL = new Uint8Array(MAX_SMALL_MESSAGE + 256);
const MAX_BODY_BYTES = 64 * 1024;
const MAX_RECEIPT_BYTES = 96 * 1024;

/** Canonical bytes of a receipt body. */
export function encodeReceiptBody(body: ReceiptBody): Uint8Array {
  return utf8(receiptBodyText(body));
}

/** Fields that bodies of earlier versions do not have. */
const FIRST_VERSION = { taken: undefined, text: undefined } as const;
const SECOND_VERSION = { index: undefined, nonce: undefined, within: undefined } as const;

/** The same as text. @throws TypeError for a text that is not Unicode */
export function receiptBodyText(body: ReceiptBody): string {
  const { boot, decision, method, policy, record, request, response, salt, sequence, status, time, version } = body;
  const { label, result, returned } = decision;
  checkUnicode([method]);
  checkUnicode(label);
  checkUnicode(returned);
  const { taken, text } = body.version === 1 ? FIRST_VERSION : body;
  const { index, nonce, within } = body.version === 3 ? body : SECOND_VERSION;
  // Names in the order of RFC 8785, in which `JSON.stringify` writes them. It leaves out those that
  // are undefined.
  return JSON.stringify({
    boot,
    decision: { label, result, returned },
    index,
    method,
    nonce,
    policy,
    record,
    request,
    response,
    salt,
    sequence,
    status,
    taken,
    text,
    time,
    version,
    within,
  });
}

const LEAF_LABEL = labelBytes('receipt');
const LEAF_HEAD = concat(Uint8Array.of(0), LEAF_LABEL);
const FIRST_LEAF_HEAD = Uint8Array.of(0);

/**
 * Bytes in front of a body, with which it is hashed as a leaf of the tree that is signed (RFC 6962,
 * section 2.1): the NUL of a leaf and, since version 3, a label.
 *
 * Without the label, bytes that were made for another tree could stand in this one.
 */
export function receiptLeafHead({ version }: ReceiptBody): Uint8Array {
  return version === 3 ? LEAF_HEAD : FIRST_LEAF_HEAD;
}

/** The body behind its {@link receiptLeafHead}. */
export function bodyOfLeaf(leaf: Uint8Array): Uint8Array {
  return leaf.subarray(leaf[1] === LEAF_LABEL[0] ? LEAF_HEAD.length : FIRST_LEAF_HEAD.length);
}

function leafOf(body: Uint8Array, { version }: ReceiptBody): Uint8Array {
  return version === 3 ? concat(LEAF_LABEL, body) : body;
}

/** The message that the receipt key signs for all receipts of one tick. */
export function receiptsMessage(root: Uint8Array): Uint8Array {
  return concat(labelBytes('receipts'), root);
}

/** The parts of a receipt. */
export interface ReceiptParts {
  /** Canonical bytes of its body. */
  readonly body: Uint8Array;
  readonly index: number;
  readonly size: number;
  readonly path: readonly Uint8Array[];
  readonly signature: Uint8Array;
}

/**
 * Wire bytes of a receipt: `enclaim.v1.Receipt` as protobuf writes it.
 *
 * **Cost**: the runtime writes one for every response, and protobuf's own writer takes ten times as
 * long. A test holds the two to one result.
 */
export function encodeReceipt({ body, index, size, path, signature }: ReceiptParts): Uint8Array {
  let length = bytesFieldLength(body) + numberFieldLength(index) + numberFieldLength(size);
  for (const hash of path) length += bytesFieldLength(hash, true);
  length += bytesFieldLength(signature);
  const out = new Uint8Array(length);
  let at = writeBytesField(out, 0, 1, body);
  at = writeNumberField(out, at, 2, index);
  at = writeNumberField(out, at, 3, size);
  for (const hash of path) at = writeBytesField(out, at, 4, hash, true);
  writeBytesField(out, at, 5, signature);
  return out;
}

/**
 * A commitment to the messages of one direction: `SHA-256("enclaim/<direction>/v1" ‖ NUL ‖ salt ‖
 * (u64 length ‖ message)*)`; the text of a status counts as one message.
 * @param salt 16 bytes
 */
export function commitment(to: Committed, salt: Uint8Array, messages: readonly Uint8Array[]): Sha256 {
  return sha256Joined(committed(to, salt, messages));
}

/** The same as a digest text. */
export function commitmentText(to: Committed, salt: Uint8Array, messages: readonly Uint8Array[]): DigestText<'sha256'> {
  const [only] = messages;
  return only !== undefined && messages.length === 1 && only.length <= MAX_SMALL_MESSAGE
    ? commitmentToSmall(to, salt, only)
    : sha256JoinedDigest(committed(to, salt, messages));
}

/** The same of one small message. **Cost**: nothing but the digest is made for it. */
function commitmentToSmall(to: Committed, salt: Uint8Array, message: Uint8Array): DigestText<'sha256'> {
  const label = COMMITMENT_LABELS[to];
  let at = label.length;
  SMALL.set(label);
  SMALL.set(salt, at);
  at += salt.length;
  setU64be(SMALL, at, message.length);
  SMALL.set(message, at + 8);
  return sha256Digest(SMALL.subarray(0, at + 8 + message.length));
}

function committed(to: Committed, salt: Uint8Array, messages: readonly Uint8Array[]): Uint8Array[] {
  const parts = [COMMITMENT_LABELS[to], salt];
  for (const message of messages) parts.push(u64be(message.length), message);
  return parts;
}

/** The bytes that a commitment begins with. @param salt 16 bytes */
export function commitmentHead(to: Committed, salt: Uint8Array): Uint8Array {
  return concat(COMMITMENT_LABELS[to], salt);
}

/** A receipt whose signature was verified under the receipt key of one boot statement. */
export interface AuthenticReceipt {
  readonly body: ReceiptBody;
}

/** The boot whose receipts are believed. */
export interface ReceiptIssuer {
  readonly statement: Pick<BootStatement, 'policy'> & { readonly keys: Pick<BootStatement['keys'], 'receipt'> };
  readonly bootDigest: Uint8Array;
}

/**
 * Verifies a receipt's path and signature, and that it was made by the boot it names, under that
 * boot's policy.
 * @param by an authenticated boot statement, and its digest of 32 bytes
 * @throws EvidenceError `format`, `signature`, `binding`
 */
export async function verifyReceipt(bytes: Uint8Array, by: ReceiptIssuer): Promise<AuthenticReceipt> {
  const { statement, bootDigest } = by;
  const { receipt, body } = parseReceipt(bytes);
  const root = rootFromPath(leafHash(leafOf(receipt.body, body)), receipt.index, receipt.size, receipt.path);
  if (root === undefined) throw new EvidenceError('format', 'receipt path does not fit its index and size');
  const key = await importPart('receipt key', ed25519Spki(statement.keys.receipt));
  if (!(await verifySignature({ kind: 'ed25519' }, key, receiptsMessage(root), receipt.signature))) {
    throw new EvidenceError('signature', 'receipt is not signed by the receipt key of the boot statement');
  }
  const boot = digestText('sha256', bootDigest);
  if (body.boot !== boot) throw new EvidenceError('binding', `receipt of boot ${body.boot}, expected ${boot}`);
  if (body.policy !== statement.policy) {
    throw new EvidenceError('binding', `receipt under policy ${body.policy}, stated is ${statement.policy}`);
  }
  return { body };
}

/**
 * The messages that a receipt was found to speak of.
 * - `both`: all of both directions.
 * - `prefix`: the response and the first messages of the request, after which the call had ended.
 * - `response`: the response alone, because the receipt commits to no message of this request.
 */
export type ComparedMessages = 'both' | 'prefix' | 'response';

/** A call as its client or server saw it. */
export interface SeenCall {
  readonly method: string;
  readonly request: readonly Uint8Array[];
  readonly response: readonly Uint8Array[];
  readonly status: number;
  /** Text of the status; without it, it is not compared. */
  readonly text?: string;
  /** The nonce that the caller sent, hex; without it, it is not compared. */
  readonly nonce?: string;
}

/**
 * Checks that an authentic receipt speaks of this very call. A handler may end before it has taken
 * all of a stream: the receipt then speaks of the first messages, as many as it says.
 *
 * Two kinds of receipt commit to no message of a stream: that of a call which has read what it may
 * not return, and in version 1 that of a refused stream. Such a receipt fits every request, and
 * says nothing of this one.
 * @throws EvidenceError `binding`; `nonce` if it was made for another call, or before there were
 * nonces
 */
export function checkReceiptMessages({ body }: AuthenticReceipt, call: SeenCall): ComparedMessages {
  if (body.method !== call.method)
    throw new EvidenceError('binding', `receipt for ${body.method}, expected ${call.method}`);
  if (body.status !== call.status)
    throw new EvidenceError('binding', `receipt for status ${body.status}, got ${call.status}`);
  if (call.nonce !== undefined && (body.version !== 3 || body.nonce !== call.nonce))
    throw new EvidenceError('nonce', "receipt does not repeat the caller's nonce");
  const salt = fromHex(body.salt);
  const speaksOf = (to: Committed, messages: readonly Uint8Array[]): boolean =>
    (to === 'status' ? body.version !== 1 && body.text : body[to]) ===
    digestText('sha256', commitment(to, salt, messages));
  if (!speaksOf('response', call.response)) throw new EvidenceError('binding', 'receipt commits to another response');
  const { text } = call;
  if (body.version !== 1 && body.status !== 0 && text !== undefined && !speaksOf('status', [utf8(text)])) {
    throw new EvidenceError('binding', 'receipt commits to another status text');
  }
  const { length } = call.request;
  const whole = body.status === 0 || !speaksOf('request', []) ? length : null;
  const taken = body.version === 1 ? whole : body.taken;
  if ((taken ?? 0) > length || !speaksOf('request', call.request.slice(0, taken ?? 0))) {
    throw new EvidenceError('binding', 'receipt commits to another request');
  }
  if (taken === length) return 'both';
  return taken === null || taken === 0 ? 'response' : 'prefix';
}

/** Reads a receipt. **Trust**: nothing in it is authentic yet. @throws EvidenceError `format` */
export function parseReceipt(bytes: Uint8Array): { receipt: Receipt; body: ReceiptBody } {
  try {
    const receipt = decodeMessage(ReceiptSchema, bytes, MAX_RECEIPT_BYTES);
    return { receipt, body: decodeCanonical(bodySchema, receipt.body, MAX_BODY_BYTES) };
  } catch (cause) {
    throw new EvidenceError('format', `receipt does not parse: ${(cause as Error).message}`, { cause });
  }
}

/** Bytes of a field with a one-byte tag. A field that repeats is written even if it is empty. */
function bytesFieldLength({ length }: Uint8Array, repeats = false): number {
  return length === 0 && !repeats ? 0 : 1 + varintLength(length) + length;
}

function numberFieldLength(value: number): number {
  return value === 0 ? 0 : 1 + varintLength(value);
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) length++;
  return length;
}

function writeBytesField(out: Uint8Array, at: number, field: number, bytes: Uint8Array, repeats = false): number {
  if (bytes.length === 0 && !repeats) return at;
  out[at] = (field << 3) | 2;
  const from = writeVarint(out, at + 1, bytes.length);
  out.set(bytes, from);
  return from + bytes.length;
}

function writeNumberField(out: Uint8Array, at: number, field: number, value: number): number {
  if (value === 0) return at;
  out[at] = field << 3;
  return writeVarint(out, at + 1, value);
}

function writeVarint(out: Uint8Array, from: number, value: number): number {
  let at = from;
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) out[at++] = (rest % 0x80) | 0x80;
  out[at++] = rest;
  return at;
}
