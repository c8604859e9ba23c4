/**
 * Decides whether a request of HTTP/2 is a call of gRPC, and bounds its metadata. Server, proxy and
 * channel all ask here, so that none accepts a request which another would refuse. A request that
 * is no call is refused before a call begins.
 */

import { fromBase64, toHex, utf8 } from './bytes.ts';

/**
 * Bytes of one call's metadata, each entry counted as HTTP/2 counts it (RFC 9113, 6.5.2): name,
 * value, and 32. Announced as SETTINGS_MAX_HEADER_LIST_SIZE.
 *
 * **Bound**: beyond 64 KiB in one value, HTTP/2 can end the connection of every call.
 */
export const MAX_METADATA_BYTES: number = 16 * 1024;
/** Entries of one call's metadata. */
export const MAX_METADATA_ENTRIES: number = 64;
const ENTRY_BYTES = 32;

/**
 * Names that speak of one connection or of one message's framing. Each hop has its own, and removes
 * those that it received; all other names pass.
 *
 * **Leak**: none.
 *
 * **Bound**: Node refuses a request that has one of the first six, and grpc-js then gives up the
 * connection with every call on it.
 */
const OF_THE_HOP: ReadonlySet<string> = new Set([
  // Connection-specific fields (RFC 9113, 8.2.2).
  'connection',
  // layer: names of the hop
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  // Fields that say how this hop frames the message, or which peer speaks on it.
  'accept-encoding',
  'content-length',
  'content-type',
  'expect',
  'host',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'user-agent',
  // gRPC's own, which each end writes anew.
  'grpc-accept-encoding',
  'grpc-encoding',
  'grpc-message',
  'grpc-status',
  'grpc-timeout',
]);

/**
 * Accepted content types, compared exactly. A type that begins so and goes on otherwise (`-web`,
 * `+json`, parameters) is another protocol, or another form of messages.
 */
const CONTENT_TYPES: ReadonlySet<unknown> = new Set(['application/grpc', 'application/grpc+proto']);
/** How messages may be compressed; answers never are. */
const ENCODINGS: ReadonlySet<string> = new Set(['identity', 'gzip']);
/** The same for `grpc-accept-encoding`. */
export const ACCEPTED_ENCODINGS: string = [...ENCODINGS].join();
/** Bytes of a message, either way, as it is and as it comes. */
export const MAX_MESSAGE_BYTES: number = 4 * 1024 * 1024;
/**
 * Bytes that any message may unfold to, however short it is. A longer one may unfold to
 * `MAX_GROWTH` its length.
 */
const SMALL_BYTES = 64 * 1024;
const MAX_GROWTH = 128;
/** gRPC over HTTP/2: at most eight digits and a unit. */
const TIMEOUT = /^(\d{1,8})([HMSmun])$/;
/** Milliseconds in each unit of `grpc-timeout`. */
const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

const RESOURCE_EXHAUSTED = 8;
const UNIMPLEMENTED = 12;
const INVALID_ARGUMENT = 3;
const INTERNAL = 13;

/**
 * Why a request is no call: a status of HTTP if it does not speak gRPC, a status of gRPC if it
 * does.
 */
export type RequestRefusal = { readonly http: 405 | 415 } | Pick<RequestError, 'status' | 'message'>;

/**
 * The refusal of a request; undefined if it is a call.
 * @param fields as Node gives them: names in small letters
 * @param raw names and values in turn, if they are known one by one
 */
export function requestRefusal(
  fields: Readonly<Record<string, string | string[] | undefined>>,
  raw: readonly string[] = Object.entries(fields).flatMap(([name, value]) => [name, String(value ?? '')]),
): RequestRefusal | undefined {
  if (fields[':method'] !== 'POST') return { http: 405 };
  if (!CONTENT_TYPES.has(fields['content-type'])) return { http: 415 };
  const { 'grpc-timeout': timeout, 'grpc-encoding': encoding = 'identity' } = fields;
  if (timeout !== undefined && timeoutOf(String(timeout)) === undefined)
    return { status: INTERNAL, message: 'grpc-timeout is not a time' };
  const over = isSmall(raw)
    ? undefined
    : excess(raw.flatMap((text, at) => (at % 2 === 0 && counts(text) ? [text, raw[at + 1] ?? ''] : [])));
  if (over !== undefined) return { status: RESOURCE_EXHAUSTED, message: over };
  if (!ENCODINGS.has(String(encoding)))
    return { status: UNIMPLEMENTED, message: `messages in ${String(encoding).slice(0, 64)} are not taken` };
  if (nonceOf(fields[NONCE_FIELD]) === undefined)
    return { status: INVALID_ARGUMENT, message: `${NONCE_FIELD} is not one value of 16 to 32 bytes` };
  return undefined;
}

/** Field of metadata: the caller's nonce, 16 to 32 bytes, which the call's receipt repeats. */
export const NONCE_FIELD = 'enclaim-nonce-bin';
/** Characters of 32 bytes in base64. */
const MAX_NONCE_CHARS = 44;

/**
 * A caller's nonce as hex; null if there is none, undefined if there are several or its value is
 * none.
 */
export function nonceOf(value: string | string[] | undefined): string | null | undefined {
  if (value === undefined) return null;
  const text = String(value);
  if (text.length > MAX_NONCE_CHARS) return undefined;
  try {
    // gRPC lets a sender leave out the padding.
    const nonce = fromBase64(text.padEnd(Math.ceil(text.length / 4) * 4, '='));
    return nonce.length >= 16 && nonce.length <= 32 ? toHex(nonce) : undefined;
  } catch {
    return undefined;
  }
}

/** A request that cannot be carried out as gRPC says, and the status that its caller is told. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  /** gRPC's number of the status. */
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Milliseconds of a `grpc-timeout`; undefined if the text is not one. */
export function timeoutOf(text: string): number | undefined {
  const [, digits, unit = ''] = TIMEOUT.exec(text) ?? [];
  return digits === undefined ? undefined : Number(digits) * (UNITS[unit] ?? Number.NaN);
}

/**
 * Bytes that a compressed message may unfold to: real ones shrink to a tenth, made ones to a
 * thousandth.
 */
export function maxInflated(length: number): number {
  return Math.min(MAX_MESSAGE_BYTES, Math.max(SMALL_BYTES, MAX_GROWTH * length));
}

/**
 * Whether all fields together are within the limits of metadata, so that no count is needed. A
 * character has at most three bytes of UTF-8.
 */
function isSmall(raw: readonly string[]): boolean {
  const count = raw.length / 2;
  let bytes = count * ENTRY_BYTES;
  for (const text of raw) bytes += 3 * text.length;
  return count <= MAX_METADATA_ENTRIES && bytes <= MAX_METADATA_BYTES;
}

/** Whether a field is metadata that passes a hop. */
export function passes(name: string): boolean {
  return /^[0-9a-z_.-]+$/.test(name) && !OF_THE_HOP.has(name);
}

/**
 * Whether a field counts as the caller's metadata. The nonce does not: a client library adds it to
 * what its program sends, and it has a bound of its own.
 */
export function counts(name: string): boolean {
  return name !== NONCE_FIELD && passes(name);
}

/**
 * A sentence if the entries exceed a call's limits, else undefined.
 * @param entries names and values in turn
 */
export function excess(entries: readonly string[]): string | undefined {
  const count = entries.length / 2;
  const bytes = entries.reduce((sum, text) => sum + utf8(text).length, count * ENTRY_BYTES);
  if (count > MAX_METADATA_ENTRIES) return `metadata of ${count} entries where ${MAX_METADATA_ENTRIES} are allowed`;
  if (bytes > MAX_METADATA_BYTES) return `metadata of ${bytes} bytes where ${MAX_METADATA_BYTES} are allowed`;
  return undefined;
}
