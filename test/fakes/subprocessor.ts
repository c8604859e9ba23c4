/** A subprocessor in software: HTTPS and gRPC on one port of this machine, under any certificate, answering anything. */

import { createHash, createPublicKey } from 'node:crypto';
import { createSecureServer, type Http2ServerResponse } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { EPOCH, FakeIdentity, type FakeScheme, pemOf, pinOf } from './certificates.ts';
import { der, name, oid, sequence } from './der.ts';

/** A message as it came in. */
export interface ReceivedMessage {
  readonly path: string;
  /** `host` or `:authority`. */
  readonly authority: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** Without gRPC's prefix. */
  readonly body: Buffer;
}

/** What is said to a message. */
export interface FakeAnswer {
  /** Of HTTP, or of gRPC where the message is one of those. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
}

/** How one is made. */
export interface SubprocessorOptions {
  /** Names in the certificate; by default `mail.example`. */
  readonly names?: readonly string[];
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly scheme?: FakeScheme;
  /** Extended key usages of the certificate. */
  readonly usages?: readonly string[];
  readonly authority?: FakeIdentity;
  /** By default everything is taken and nothing said. `never` leaves the other end waiting. */
  readonly answer?: (message: ReceivedMessage) => FakeAnswer | 'never';
  /** How many messages have to be there before the first is answered; by default itself. */
  readonly together?: number;
  readonly maxVersion?: 'TLSv1.2' | 'TLSv1.3';
  readonly protocols?: readonly string[];
  /** Whose certificates it asks clients for; `demands`: takes none without. By default it asks for none. */
  readonly clients?: { readonly authority: FakeIdentity; readonly demands: boolean };
  /** Where it listens; by default where there is room. */
  readonly port?: number;
}

/** A running one. */
export interface FakeSubprocessor {
  readonly port: number;
  /** `sha256/…` of its key, and `sha256:…` of the certificate that vouches for it. */
  readonly spki: string;
  readonly ca: `sha256:${string}`;
  readonly received: readonly ReceivedMessage[];
  /** TCP connections so far. */
  readonly connections: () => number;
  /** Certificates that clients have shown (DER), one for each connection with one. */
  readonly shown: readonly Buffer[];
  /** Resolves once no connection is open. */
  idle(): Promise<void>;
  stop(): Promise<void>;
}

const MAKER = new FakeIdentity('maker of certificates', 'ecdsa-sha256');
const HTTP_OK = 200;

/** Starts one. */
export async function startSubprocessor(options: SubprocessorOptions = {}): Promise<FakeSubprocessor> {
  const { names = ['mail.example'], answer = () => ({}), authority = MAKER, scheme = 'ecdsa-sha256' } = options;
  const { together = 1 } = options;
  const self = new FakeIdentity('mail', scheme);
  const certificate = certificateOf(self, authority, { ...options, names });
  const root = authority.root();
  const received: ReceivedMessage[] = [];
  const shown: Buffer[] = [];
  const { clients } = options;
  const sockets = new Set<Socket>();
  const gathered = Promise.withResolvers<void>();
  let connections = 0;
  const server = createSecureServer(
    {
      allowHTTP1: true,
      cert: pemOf(certificate, root),
      key: self.privateKey.export({ type: 'pkcs8', format: 'pem' }),
      maxVersion: options.maxVersion ?? 'TLSv1.3',
      ALPNProtocols: [...(options.protocols ?? ['h2', 'http/1.1'])],
      ...(clients && { requestCert: true, rejectUnauthorized: clients.demands, ca: pemOf(clients.authority.root()) }),
    },
    (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => void chunks.push(chunk));
      request.on('error', () => {});
      request.on('end', async () => {
        const isGrpc = request.headers['content-type']?.startsWith('application/grpc') ?? false;
        const body = Buffer.concat(chunks);
        const message = {
          path: request.url,
          authority: request.authority || (request.headers.host ?? ''),
          headers: request.headers,
          body: isGrpc ? body.subarray(5) : body,
        };
        received.push(message);
        if (received.length >= together) gathered.resolve();
        await gathered.promise;
        const said = answer(message);
        if (said === 'never') return;
        if (isGrpc) sayGrpc(response, said);
        else sayHttp(response, said);
      });
    },
  );
  server.on('connection', (socket: Socket) => {
    connections++;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
  });
  server.on('secureConnection', (tls: TLSSocket) => {
    const { raw } = tls.getPeerX509Certificate() ?? {};
    if (raw !== undefined) shown.push(raw);
  });
  server.on('sessionError', () => {});
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve));
  const spki = createPublicKey(self.privateKey).export({ type: 'spki', format: 'der' });
  return {
    port: (server.address() as AddressInfo).port,
    spki: `sha256/${createHash('sha256').update(spki).digest('base64')}`,
    ca: pinOf(root),
    received,
    connections: () => connections,
    shown,
    idle: async () => {
      while (sockets.size > 0) await setTimeout(10);
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function certificateOf(
  { spki }: FakeIdentity,
  authority: FakeIdentity,
  options: SubprocessorOptions & { readonly names: readonly string[] },
): Uint8Array {
  const { names } = options;
  const alternatives = sequence(...names.map((one) => der(0x82, Buffer.from(one))));
  const usages = options.usages && { oid: '2.5.29.37', value: sequence(...options.usages.map(oid)) };
  return authority.certify({
    subject: name(names[0] ?? 'nobody'),
    spki,
    notBefore: options.notBefore ?? EPOCH,
    ...(options.notAfter !== undefined && { notAfter: options.notAfter }),
    extensions: [{ oid: '2.5.29.17', value: alternatives }, ...(usages ? [usages] : [])],
  });
}

function sayHttp(response: Http2ServerResponse, { status = HTTP_OK, headers = {}, body = '' }: FakeAnswer): void {
  response.writeHead(status, headers);
  response.end(body);
}

function sayGrpc(response: Http2ServerResponse, { status = 0, body = new Uint8Array() }: FakeAnswer): void {
  const prefix = Buffer.alloc(5);
  const bytes = Buffer.from(body as Uint8Array);
  prefix.writeUInt32BE(bytes.length, 1);
  response.writeHead(HTTP_OK, { 'content-type': 'application/grpc' });
  response.addTrailers({ 'grpc-status': String(status) });
  response.end(status === 0 ? Buffer.concat([prefix, bytes]) : '');
}
