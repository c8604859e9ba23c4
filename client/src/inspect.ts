/** The evidence of a running machine for an auditor, who compares it himself: a connection that carries no call. */

import { connect as connectTcp } from 'node:net';
import type { References } from '@enclaim/attestation';
import { MAKERS } from './channel.ts';
import { openTls } from './credentials.ts';
import { ChannelError } from './errors.ts';
import { inspectEvidence, type Received } from './exchange.ts';

const TIMEOUT_MS = 60_000;

/**
 * Evidence that a machine makes now, for this connection. Only the anchors of the references, and which platforms they
 * name, take part: nothing is held against reference values here.
 * @param target `HOST:PORT`; an IPv6 address in brackets
 * @throws EvidenceError, ChannelError
 */
export async function inspect(target: string, references: References): Promise<Received> {
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(target) ?? [];
  if (host === undefined || Number(port) > 65_535) throw new ChannelError('unreachable', `${target} is not HOST:PORT`);
  const socket = connectTcp({ host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) });
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    late.reject(new ChannelError('timeout', `no evidence from ${target} within ${TIMEOUT_MS} ms`));
  }, TIMEOUT_MS);
  try {
    const exchange = openTls(socket).then((tls) => {
      tls.on('error', () => tls.destroy());
      return inspectEvidence(tls, { references, now: Date.now, collateral: MAKERS });
    });
    exchange.catch(() => {}); // where time is up first
    return await Promise.race([exchange, late.promise]);
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}
