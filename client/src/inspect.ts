/**
 * The evidence of a running machine for an auditor, who compares it. The connection carries no
 * call.
 */

import type { Socket } from 'node:net';
import type { References } from '@enclaim/attestation';
import { openTls } from './attested-credentials.ts';
import { MAKERS } from './channel.ts';
import { ChannelError } from './errors.ts';
import { inspectEvidence, type Received } from './handshake.ts';
import { dial, parseTarget } from './route.ts';

const TIMEOUT_MS = 60_000;

/**
 * Evidence that a machine makes now, for this connection. It uses only the anchors of the
 * references and the platforms that they name; it compares nothing with reference values.
 * @param target `HOST:PORT`; an IPv6 address in brackets
 * @throws EvidenceError, ChannelError
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { inspect, parseReferences } from '@enclaim/client';
 *
 * const references = parseReferences(await readFile('references.json'));
 * const { authenticated } = await inspect('intake.example:443', references);
 * console.log(authenticated.statement.bootId);
 * ```
 */
export async function inspect(target: string, references: References): Promise<Received> {
  const place = parseTarget(target);
  let socket: Socket | undefined;
  let ended = false;
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new ChannelError('timeout', `no evidence from ${target} within ${TIMEOUT_MS} ms`));
  }, TIMEOUT_MS);
  try {
    const exchange = (async () => {
      socket = await dial(place);
      if (ended) socket.destroy();
      const tls = await openTls(socket);
      tls.on('error', () => tls.destroy());
      return inspectEvidence(tls, { references, now: Date.now, collateral: MAKERS });
    })();
    exchange.catch(() => {}); // where time is up first
    return await Promise.race([exchange, late.promise]);
  } finally {
    clearTimeout(timer);
    ended = true;
    socket?.destroy();
  }
}
