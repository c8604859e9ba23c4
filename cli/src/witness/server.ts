/** The HTTP interface of a witness (C2SP tlog-witness): add-checkpoint and last checkpoints. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { MAX_ADD_CHECKPOINT_BYTES, witnessedPath } from '@enclaim/attestation/tlog';
import type { WitnessStore } from './store.ts';
import type { Witness } from './witness.ts';

/** Connections of a witness at once; one more is closed. */
export const MAX_WITNESS_CONNECTIONS = 512;
/** Milliseconds for a whole request. */
const REQUEST_MS = 10_000;
const HEADERS_MS = 5_000;
/** Milliseconds without a byte, after which a connection is closed. */
const IDLE_MS = 30_000;
const MAX_HEADER_BYTES = 8 * 1024;

/** A witness that answers. */
export interface ServedWitness {
  /** Its prefix for submission and monitoring: `http://HOST:PORT`. */
  readonly address: string;
  /** Ends after the requests under way. */
  close(): Promise<void>;
}

/**
 * Serves a witness without TLS: what it answers is public and signed, and a proxy before it may add
 * TLS and shares by address.
 * @throws Error if it cannot listen there
 */
export async function serveWitness(
  witness: Witness,
  store: WitnessStore,
  origins: Iterable<string>,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<ServedWitness> {
  const shown = new Map([...origins].map((origin) => [`/${witnessedPath(origin)}`, origin]));
  const server = createServer(
    {
      // layer: a whole request in its time
      requestTimeout: REQUEST_MS,
      // layer: the head of a request in its time
      headersTimeout: HEADERS_MS,
      connectionsCheckingInterval: 1000,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    (request, response) => {
      respond(witness, store, shown, request, response).catch(() => refuse(response, 500, 'failed'));
    },
  );
  // layer: connections of a witness
  server.maxConnections = MAX_WITNESS_CONNECTIONS;
  server.timeout = IDLE_MS;
  await listening(server, host, port);
  const { address, family, port: bound } = server.address() as AddressInfo;
  return {
    address: `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}`,
    close: () => closed(server),
  };
}

async function respond(
  witness: Witness,
  store: WitnessStore,
  shown: ReadonlyMap<string, string>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { method, url = '' } = request;
  if (url === '/add-checkpoint') {
    if (method !== 'POST') return refuse(response, 405, 'POST');
    const body = await bodyOf(request);
    if (body === undefined) return refuse(response, 413, `more than ${MAX_ADD_CHECKPOINT_BYTES} bytes, or not UTF-8`);
    const { status, body: text, type } = await witness.add(body);
    return send(response, status, text, type);
  }
  const origin = shown.get(url);
  const last = origin === undefined ? undefined : store.last(origin);
  if (last === undefined) return refuse(response, 404, 'nothing here');
  if (method !== 'GET' && method !== 'HEAD') return refuse(response, 405, 'GET');
  send(response, 200, last.note);
}

/** A request's body as text; undefined for one that is too long or no text. */
async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > MAX_ADD_CHECKPOINT_BYTES) return undefined;
    parts.push(part);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(parts));
  } catch {
    return undefined;
  }
}

function send(response: ServerResponse, status: number, body: string, type = 'text/plain; charset=utf-8'): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body);
}

/** Answers without reading on: the connection ends with it. */
function refuse(response: ServerResponse, status: number, why: string): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.shouldKeepAlive = false;
  send(response, status, `${why}\n`);
}

function listening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen({ host, port }, resolve);
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
}
