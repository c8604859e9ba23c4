/** An attacker on the path: ends the client's TLS with a key of its own, and passes frames on as it likes. */

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { u32be } from '@enclaim/attestation/bytes';
import { ALPN, FRAME_PREFIX, frameLength } from '@enclaim/attestation/handshake';
import { type Handshake, HandshakeSchema } from '../../attestation/src/gen/enclaim/v1/evidence_pb.js';
import { certificatePem, selfSignedCertificate } from '../../runtime/src/boot/certificate.ts';

/** The attacker, and what it saw of the client. */
export interface InPathProxy {
  readonly target: string;
  /** Steps of the handshake that the client sent. */
  readonly steps: string[];
  /** Bytes that the client sent beyond handshake frames: what an honest client keeps until its verdict. */
  leaked(): number;
  close(): void;
}

/** What the attacker does with a frame on its way: change it, or put another in its place. */
export type Tamper = (message: Handshake) => void;

/** Stands between a client and the server at `port`. */
export async function startInPathProxy(port: number, tamper: Tamper): Promise<InPathProxy> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  const cert = certificatePem(selfSignedCertificate(privateKey, spki, randomBytes(16)));
  const key = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  const steps: string[] = [];
  let leaked = 0;
  const server = createServer({ key, cert, ALPNProtocols: [ALPN], minVersion: 'TLSv1.3' }, (client) => {
    const upstream = connect({ port, host: '127.0.0.1', ALPNProtocols: [ALPN], rejectUnauthorized: false });
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
    const ended = (): void => void client.destroy(); // one end has hung up: so does the attacker
    relay(upstream, client, tamper, () => {}).catch(ended);
    relay(
      client,
      upstream,
      (message) => {
        steps.push(message.step.case ?? 'none');
        tamper(message);
      },
      (bytes) => {
        leaked += bytes.length;
      },
    ).catch(ended);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const own = typeof address === 'object' && address !== null ? address.port : 0;
  return { target: `127.0.0.1:${own}`, steps, leaked: () => leaked, close: () => server.close() };
}

/** Passes on frames until one is `done`, then everything; `beyond` sees what is not a frame of the handshake. */
async function relay(from: TLSSocket, to: TLSSocket, tamper: Tamper, beyond: (bytes: Buffer) => void): Promise<void> {
  let held = Buffer.alloc(0);
  let done = false;
  for await (const chunk of from as AsyncIterable<Buffer>) {
    held = Buffer.concat([held, chunk]);
    while (!done && held.length >= FRAME_PREFIX) {
      const length = frameLength(held.subarray(0, FRAME_PREFIX));
      if (held.length < FRAME_PREFIX + length) break;
      const message = fromBinary(HandshakeSchema, held.subarray(FRAME_PREFIX, FRAME_PREFIX + length));
      held = held.subarray(FRAME_PREFIX + length);
      done = message.step.case === 'done';
      tamper(message);
      const bytes = toBinary(HandshakeSchema, message);
      to.write(Buffer.concat([u32be(bytes.length), bytes]));
    }
    if (done && held.length > 0) {
      beyond(held);
      to.write(held);
      held = Buffer.alloc(0);
    }
  }
}
