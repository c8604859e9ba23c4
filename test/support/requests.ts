/** Requests of HTTP/2 that are calls of gRPC, or nearly: what the server answers, and the proxy before it must answer too. */

import type { ClientHttp2Session, IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2';
import { gzipSync } from 'node:zlib';
import { NONCE_FIELD } from '@enclaim/attestation/grpc-request';

/** A request that differs from an ordinary call of a unary method in what it names. */
export interface OddRequest {
  readonly name: string;
  readonly fields?: OutgoingHttpHeaders;
  /** Fields that it does not have. */
  readonly without?: readonly string[];
  /** Appended to the path. */
  readonly path?: string;
  /** Prefixed messages; by default the method's own. */
  readonly body?: Buffer;
  readonly http?: number;
  /** The status of gRPC, where HTTP's is 200. */
  readonly grpc?: number;
  /** Whether a call begins; where it is over at once, that is a race. */
  readonly executed?: boolean;
}

const DEADLINE_EXCEEDED = 4;
const typed = (type: string, http: 200 | 415): OddRequest => ({
  name: `content-type ${type}`,
  fields: { 'content-type': type },
  executed: http === 200,
  ...(http === 200 ? { grpc: 0 } : { http }),
});
const timed = (timeout: string, grpc: number): OddRequest => ({
  name: `grpc-timeout ${timeout}`,
  fields: { 'grpc-timeout': timeout },
  grpc,
  ...(grpc !== DEADLINE_EXCEEDED && { executed: grpc === 0 }),
});
const method = (name: string): OddRequest => ({ name, fields: { ':method': name }, http: 405, executed: false });
const path = (appended: string): OddRequest => ({
  name: `path with ${appended}`,
  path: appended,
  grpc: 12,
  executed: false,
});
const entries = (count: number): OutgoingHttpHeaders =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, 'v']));

/** A message that both ends of the table understand. */
export const NOTE: Buffer = Buffer.of(0x0a, 1, 0x6b);

/** A message behind its prefix. */
export function prefixed(message: Uint8Array, flag = 0): Buffer {
  const prefix = Buffer.of(flag, 0, 0, 0, 0);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** The table. */
export const ODD_REQUESTS: readonly OddRequest[] = [
  { name: 'an ordinary call', grpc: 0, executed: true },
  ...['PUT', 'GET', 'PATCH', 'DELETE', 'OPTIONS', 'post'].map(method),
  typed('application/grpc', 200),
  typed('application/grpc+proto', 200),
  ...[
    'application/grpc+json',
    'application/grpc+thrift',
    'application/grpc-web',
    'application/grpc-web+proto',
    'application/grpc-web-text',
    'application/grpcfoo',
    'application/grpc;charset=utf-8',
    'application/grpc, application/grpc',
    'Application/GRPC',
    'application/json',
    'text/html',
  ].map((type) => typed(type, 415)),
  { name: 'no content-type', without: ['content-type'], http: 415, executed: false },
  { name: 'no te', without: ['te'], grpc: 0, executed: true },
  { name: 'another method in a field', fields: { 'x-http-method-override': 'GET' }, grpc: 0, executed: true },
  ...['1H', '99999999H', '00000001M', '30000m'].map((timeout) => timed(timeout, 0)),
  timed('0n', DEADLINE_EXCEEDED),
  ...['123456789S', '-1S', '1s', '1 S', 'S', '1', '1e3S', '+1S', '1S, 2S'].map((timeout) => timed(timeout, 13)),
  ...['/', '?x=1', '/more'].map(path),
  { name: '64 entries of metadata', fields: entries(64), grpc: 0, executed: true },
  { name: '65 entries of metadata', fields: entries(65), grpc: 8, executed: false },
  { name: '118 entries of metadata', fields: entries(118), grpc: 8, executed: false },
  { name: 'an entry of 15 KiB', fields: { k: 'x'.repeat(15 * 1024) }, grpc: 0, executed: true },
  ...[15, 16, 32, 33].map((bytes) => nonce(`${bytes} bytes`, Buffer.alloc(bytes, 7).toString('base64'))),
  nonce('16 bytes without padding', `${'A'.repeat(22)}`, 0),
  nonce('that is not base64', '%%%%%%%%%%%%%%%%%%%%%%%%'),
  nonce('none', ''),
  nonce('two', [Buffer.alloc(16, 7).toString('base64'), Buffer.alloc(16, 8).toString('base64')]),
  { name: 'messages of an encoding that is not known', fields: { 'grpc-encoding': 'br' }, grpc: 12, executed: false },
  {
    name: 'messages that may be compressed, and are not',
    fields: { 'grpc-encoding': 'gzip' },
    grpc: 0,
    executed: true,
  },
  { name: 'a message that says it is compressed', body: prefixed(NOTE, 1), grpc: 13, executed: false },
  { name: 'the same of no bytes', body: prefixed(Buffer.alloc(0), 1), grpc: 13, executed: false },
  { name: 'a message with a flag that is none', body: prefixed(NOTE, 2), grpc: 13, executed: false },
  {
    name: 'a compressed message',
    fields: { 'grpc-encoding': 'gzip' },
    body: prefixed(gzipSync(NOTE), 1),
    grpc: 0,
    executed: true,
  },
];

/** A nonce of the caller's: one of 16 to 32 bytes is taken. */
function nonce(what: string, value: string | string[], grpc = /^(?:16|32) bytes/.test(what) ? 0 : 3): OddRequest {
  return { name: `a nonce: ${what}`, fields: { [NONCE_FIELD]: value }, grpc, executed: grpc === 0 };
}

/** How one was answered. */
export interface OddAnswer {
  readonly http: number;
  readonly grpc: number | undefined;
  readonly message: string;
}

/** Sends one and waits for the end of its stream. */
export async function askOddly(
  session: ClientHttp2Session,
  call: { readonly path: string; readonly body: Buffer },
  { fields = {}, without = [], path: appended = '', body = call.body }: OddRequest,
): Promise<OddAnswer> {
  const headers: OutgoingHttpHeaders = {
    ':method': 'POST',
    ':path': call.path + appended,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...fields,
  };
  for (const name of without) delete headers[name];
  const stream = session.request(headers, { endStream: false });
  const said: IncomingHttpHeaders = {};
  stream.on('response', (each) => Object.assign(said, each));
  stream.on('trailers', (each) => Object.assign(said, each));
  stream.on('error', () => {}); // a reset; what was said before counts
  stream.resume().end(body);
  await new Promise((resolve) => stream.once('close', resolve));
  const status = said['grpc-status'];
  return {
    http: Number(said[':status']),
    grpc: status === undefined ? undefined : Number(status),
    message: String(said['grpc-message'] ?? ''),
  };
}
