/**
 * One request of HTTP/1.1 on a connection of its own. No redirect is followed, nothing is
 * compressed, and the connection is not kept.
 */

import { request } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { HttpCall } from '@enclaim/policy-schema/admission';
import type { Show } from './credential.ts';
import type { Peer } from './peer.ts';

/** The answer of a subprocessor. */
export interface Answer {
  /** `ok`, or the status of HTTP or gRPC that says why not. */
  readonly status: 'ok' | number;
  readonly body: Uint8Array;
  /** Whether the body repeats the secret that the subprocessor was shown. */
  readonly repeatsSecret: boolean;
}

/** Bytes of the largest answer. */
export const MAX_ANSWER_BYTES: number = 1024 * 1024;

/**
 * Sends a JSON body and resolves with the answer. Destroys the connection in every case.
 *
 * @param show gives the credential
 * @throws Error if the peer does not answer in HTTP, or sends too much; what `show` throws
 */
export async function callHttp(
  tls: TLSSocket,
  { host, port }: Peer,
  { verb, path }: HttpCall,
  body: Uint8Array,
  { show, signal }: { readonly show: Show; readonly signal: AbortSignal },
): Promise<Answer> {
  try {
    const credential = show();
    return await new Promise<Answer>((resolve, reject) => {
      const headers = {
        host: port === 443 ? host : `${host}:${port}`,
        accept: 'application/json',
        'accept-encoding': 'identity',
        'content-type': 'application/json',
        'content-length': body.length,
        ...(credential && { [credential.header]: credential.value }),
      };
      const outgoing = request({ createConnection: () => tls, method: verb, path, headers, signal }, (incoming) => {
        const chunks: Buffer[] = [];
        let length = 0;
        // layer: a redirect is an answer
        incoming.on('error', reject);
        incoming.on('data', (chunk: Buffer) => {
          length += chunk.length;
          // layer: answers have a limit
          if (length > MAX_ANSWER_BYTES) incoming.destroy(new Error(`more than ${MAX_ANSWER_BYTES} bytes came back`));
          else chunks.push(chunk);
        });
        incoming.on('end', () => {
          const { statusCode = 0, complete } = incoming;
          if (!complete) return reject(new Error('the answer was cut off'));
          const answer = Buffer.concat(chunks);
          resolve({
            status: statusCode >= 200 && statusCode < 300 ? 'ok' : statusCode,
            body: answer,
            repeatsSecret: credential?.isIn(answer) ?? false,
          });
        });
      });
      outgoing.on('error', reject);
      outgoing.on('upgrade', (_, socket) => {
        socket.destroy();
        reject(new Error('the other end wants another protocol'));
      });
      outgoing.end(body);
    });
  } finally {
    tls.destroy();
  }
}
