/** Metadata of a call as one connection may carry it. */

import { counts, excess, passes } from '@enclaim/attestation/grpc-request';
import { Metadata, type MetadataValue, type StatusObject, status } from '@grpc/grpc-js';

/** The fields of a request or an answer that pass a hop. */
export function passing<T>(fields: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => passes(name)));
}

/**
 * Metadata as a connection carries it without harm to the other calls on it. Several texts under
 * one name are joined by commas, because Node refuses to send some names twice. Both forms mean the
 * same (gRPC over HTTP/2, "Custom-Metadata").
 * @returns the status that the call ends with before it begins, if the metadata cannot be carried
 */
export function carried(metadata: Metadata): Metadata | StatusObject {
  const made = metadata.clone();
  const entries: string[] = [];
  for (const name of Object.keys(metadata.getMap())) {
    if (!passes(name)) return refusal(status.INTERNAL, `metadata ${name} belongs to the connection`);
    const values = metadata.get(name);
    if (counts(name)) for (const value of values) entries.push(name, wireText(value));
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
