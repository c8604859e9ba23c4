/** Metadata of a call as one connection may carry it: which names belong to a hop, and how much there may be. */

import { Metadata, type MetadataValue, type StatusObject, status } from '@grpc/grpc-js';

/**
 * Bytes of one call's metadata, each entry counted as HTTP/2 counts it (RFC 9113, 6.5.2): name, value, and 32.
 * **Bound**: beyond 64 KiB in one value, HTTP/2 can end the connection of every call.
 */
export const MAX_METADATA_BYTES: number = 16 * 1024;
/** Entries of one call's metadata. */
export const MAX_METADATA_ENTRIES: number = 64;
const ENTRY_BYTES = 32;

/**
 * Names that speak of one connection or of one message's framing. Each hop has its own, and takes away those it got; all other
 * names pass. **Leak**: none. **Bound**: Node refuses a request that has one of the first six, and grpc-js then gives up the
 * connection with every call on it.
 */
const OF_THE_HOP: ReadonlySet<string> = new Set([
  // Connection-specific fields (RFC 9113, 8.2.2).
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  // What says how this hop frames the message, or who speaks on it.
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

/** Whether a field is metadata that passes a hop. */
export function passes(name: string): boolean {
  return /^[0-9a-z_.-]+$/.test(name) && !OF_THE_HOP.has(name);
}

/** Those fields of a request or an answer that pass a hop. */
export function passing<T>(fields: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => passes(name)));
}

/** A sentence where entries are more than a call may have, else undefined. @param entries names and values in turn */
export function excess(entries: readonly string[]): string | undefined {
  const count = entries.length / 2;
  const bytes = entries.reduce((sum, text) => sum + Buffer.byteLength(text), count * ENTRY_BYTES);
  if (count > MAX_METADATA_ENTRIES) return `metadata of ${count} entries where ${MAX_METADATA_ENTRIES} are allowed`;
  if (bytes > MAX_METADATA_BYTES) return `metadata of ${bytes} bytes where ${MAX_METADATA_BYTES} are allowed`;
  return undefined;
}

/**
 * Metadata as a connection carries it without harm to the other calls on it. Several texts under one name are joined by commas,
 * which means the same (gRPC over HTTP/2, "Custom-Metadata"): Node refuses to send some names twice.
 * @returns the status that the call ends with before it begins, where it cannot be carried
 */
export function carried(metadata: Metadata): Metadata | StatusObject {
  const made = metadata.clone();
  const entries: string[] = [];
  for (const name of Object.keys(metadata.getMap())) {
    if (!passes(name)) return refusal(status.INTERNAL, `metadata ${name} belongs to the connection`);
    const values = metadata.get(name);
    for (const value of values) entries.push(name, wireText(value));
    if (values.length > 1 && !name.endsWith('-bin')) made.set(name, values.join());
  }
  const over = excess(entries);
  return over === undefined ? made : refusal(status.RESOURCE_EXHAUSTED, over);
}

function wireText(value: MetadataValue): string {
  return typeof value === 'string' ? value : value.toString('base64');
}

function refusal(code: status, details: string): StatusObject {
  return { code, details, metadata: new Metadata() };
}
