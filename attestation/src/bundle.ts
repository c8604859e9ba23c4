/**
 * App bundle: policy, descriptors and handlers in one raw disk image (docs/reference/formats.md,
 * "App bundle").
 */

import { concat, Reader, u32be, u64be, utf8 } from './bytes.ts';
import { type DigestText, digestText, sha384 } from './digest.ts';
import { DecodeError } from './errors.ts';

/** The three sections of a bundle, as bytes. */
export interface Bundle {
  /** Canonical bytes of the policy. */
  readonly policy: Uint8Array;
  /** A serialised google.protobuf.FileDescriptorSet. */
  readonly descriptors: Uint8Array;
  /** The handlers' program, UTF-8 JavaScript. */
  readonly handlers: Uint8Array;
}

/** Bytes that `bundleLength` and `policyFrame` need at least: the header. */
export const BUNDLE_HEADER = 64;
/** Size of a disk block; a bundle is a whole number of them. */
export const BUNDLE_BLOCK = 4096;
/** A bundle is read into memory before it is believed. */
export const MAX_BUNDLE: number = 64 * 1024 * 1024;

const MAGIC = concat(utf8('ENCLAIM'), Uint8Array.of(0));
const VERSION = 1;
const SECTIONS = ['policy', 'descriptors', 'handlers'] as const;

/** Encodes a bundle. @throws RangeError beyond `MAX_BUNDLE` */
export function encodeBundle(bundle: Bundle): Uint8Array {
  const frames = SECTIONS.map((name, index) => [u32be(index + 1), u32be(0), u64be(bundle[name].length)]);
  const length = SECTIONS.reduce((sum, name) => sum + bundle[name].length, BUNDLE_HEADER);
  const padded = Math.ceil(length / BUNDLE_BLOCK) * BUNDLE_BLOCK;
  if (padded > MAX_BUNDLE) throw new RangeError(`bundle of ${padded} bytes, at most ${MAX_BUNDLE}`);
  const payloads = SECTIONS.map((name) => bundle[name]);
  const header = [MAGIC, u32be(VERSION), u32be(SECTIONS.length), ...frames.flat()];
  return concat(...header, ...payloads, new Uint8Array(padded - length));
}

/**
 * Length in bytes of the whole bundle, from its first `BUNDLE_HEADER` bytes. The guest reads as
 * much of a disk.
 * @throws DecodeError
 */
export function bundleLength(header: Uint8Array): number {
  const end = parseHeader(new Reader(header)).reduce((sum, length) => sum + length, BUNDLE_HEADER);
  return Math.ceil(end / BUNDLE_BLOCK) * BUNDLE_BLOCK;
}

/** Parses a whole bundle. The sections are views. @throws DecodeError */
export function parseBundle(bytes: Uint8Array): Bundle {
  const reader = new Reader(bytes);
  const [policy = 0, descriptors = 0, handlers = 0] = parseHeader(reader);
  const bundle = {
    policy: reader.take(policy),
    descriptors: reader.take(descriptors),
    handlers: reader.take(handlers),
  };
  // layer: padding is zero
  reader.zeros(bundleLength(bytes) - (bytes.length - reader.left), 'padding');
  reader.end('bundle');
  return bundle;
}

/**
 * The policy alone: the only part that the guest may read before it measures the bundle.
 * @throws DecodeError
 */
export function policyFrame(bytes: Uint8Array): Uint8Array {
  const reader = new Reader(bytes);
  const [policy = 0] = parseHeader(reader);
  return reader.take(policy);
}

/** SHA-384 of the whole file, which register 14 and the boot statement name. */
export function bundleDigest(bytes: Uint8Array): DigestText<'sha384'> {
  return digestText('sha384', sha384(bytes));
}

/** Lengths of the sections. */
function parseHeader(reader: Reader): number[] {
  const magic = reader.take(MAGIC.length);
  if (MAGIC.some((byte, index) => magic[index] !== byte)) throw new DecodeError('magic', 'not an app bundle', 0);
  const version = reader.u32be();
  // layer: version of a bundle
  if (version !== VERSION) throw new DecodeError('version', `bundle version ${version}, expected ${VERSION}`, 8);
  const count = reader.u32be();
  // layer: number of sections
  if (count !== SECTIONS.length) throw new DecodeError('range', `${count} sections, expected ${SECTIONS.length}`, 12);
  let total = BUNDLE_HEADER;
  return SECTIONS.map((name, index) => {
    const { at } = reader;
    const kind = reader.u32be();
    // layer: order of sections
    if (kind !== index + 1) throw new DecodeError('range', `section ${kind} where ${name} is expected`, at);
    // layer: reserved is zero
    reader.zeros(4, `reserved field of ${name}`);
    const length = reader.u64be();
    // layer: length of a bundle
    if (length > BigInt(MAX_BUNDLE - total)) throw new DecodeError('range', `${name} of ${length} bytes`, at + 8);
    total += Number(length);
    return Number(length);
  });
}
