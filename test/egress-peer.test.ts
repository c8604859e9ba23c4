/** Who a message is given to: each stranger is refused before a byte of it has left, by the check that is named. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerIdentity, Subprocessor } from '@enclaim/policy-schema/admission';
import { EgressBroker } from '../runtime/src/egress/broker.ts';
import { EPOCH, FakeIdentity, pemOf } from './fakes/certificates.ts';
import { type FakeSubprocessor, type SubprocessorOptions, startSubprocessor } from './fakes/subprocessor.ts';
import { weakened } from './hostile/weakened.ts';

const CALLS = { http: { verb: 'POST', path: '/v1/send' }, grpc: 't.Mail/Send' } as const;
const NOW = Date.UTC(2026, 10, 20);
const DAY = 86_400_000;
const never = new AbortController().signal;

/** A subprocessor of the policy that should be at this port. */
function named(port: number, identity: PeerIdentity): Record<'mailer', Subprocessor> {
  const address = `https://mail.example:${port}`;
  return { mailer: { description: '', address, identity, region: 'r', calls: [], receives: ['d'], assurance: 'none' } };
}

/** What came of sending one message by one protocol. */
async function sent(
  options: SubprocessorOptions,
  identityOf: (server: FakeSubprocessor) => PeerIdentity,
  call: keyof typeof CALLS,
  now = NOW,
  Broker = EgressBroker,
): Promise<{ outcome: string; received: number }> {
  const server = await startSubprocessor(options);
  const subprocessors = named(server.port, identityOf(server));
  const broker = new Broker({ subprocessors, resolve: async () => ['127.0.0.1'], now: () => now, timeout: 5000 });
  try {
    const outcome = await broker.send('mailer', CALLS[call], Buffer.from('{}'), never).then(
      ({ status }) => String(status),
      ({ code, message, cause }) => `${code}: ${cause?.message ?? message}`,
    );
    return { outcome, received: server.received.length };
  } finally {
    await server.stop();
  }
}

const other = new FakeIdentity('somebody else', 'ecdsa-sha256');
const weak = { usages: ['1.3.6.1.5.5.7.3.2'] };
const SYSTEM = (): PeerIdentity => ({ ca: 'system' });
const PINNED = ({ spki }: FakeSubprocessor): PeerIdentity => ({ spki: [spki] });
const ISSUED = ({ ca }: FakeSubprocessor): PeerIdentity => ({ ca });
const STRANGE = `sha256/${'A'.repeat(43)}=`;

const CASES: Readonly<
  Record<string, readonly [SubprocessorOptions, (server: FakeSubprocessor) => PeerIdentity, RegExp, number?]>
> = {
  'a pinned key': [{}, PINNED, /^ok$/],
  'one of several pinned keys': [{}, ({ spki }) => ({ spki: [STRANGE, spki] }), /^ok$/],
  'a pinned key under another name: the key is what counts': [{ names: ['other.example'] }, PINNED, /^ok$/],
  'a pinned RSA key': [{ scheme: 'rsassa-sha256' }, PINNED, /^ok$/],
  'another key': [{}, () => ({ spki: [STRANGE] }), /peer: has another key/],
  'a pinned key whose certificate has ended': [{ notAfter: NOW - DAY }, PINNED, /peer: has a certificate from/],
  'a pinned key whose certificate has not begun': [{}, PINNED, /peer: has a certificate from/, EPOCH - DAY],
  'a clock that is none': [{}, PINNED, /peer: has a certificate from/, Number.NaN],
  'a pinned authority': [{}, ISSUED, /^ok$/],
  'a pinned authority, for servers': [{ usages: ['1.3.6.1.5.5.7.3.1'] }, ISSUED, /^ok$/],
  'a pinned authority that vouches for clients': [weak, ISSUED, /not for servers/],
  'a pinned authority that vouches for another name': [
    { names: ['mail.example.evil.example'] },
    ISSUED,
    /another name/,
  ],
  'a name that differs by a dot at the end': [{ names: ['mail.example.'] }, ISSUED, /another name/],
  'a name that only looks alike': [{ names: ['xn--mil-8cd.example'] }, ISSUED, /another name/],
  'a wildcard over a whole domain': [{ names: ['*.example'] }, ISSUED, /another name/],
  'another authority': [
    { authority: other },
    () => ({ ca: `sha256:${'0'.repeat(64)}` }),
    /peer: no certificate of the issuer|peer: path|peer: certificate/,
  ],
  'an authority that no system knows': [{}, SYSTEM, /no known authority/],
  'TLS 1.2': [{ maxVersion: 'TLSv1.2' }, PINNED, /peer:/],
};

for (const [name, [options, identityOf, expected, now]] of Object.entries(CASES)) {
  for (const call of ['http', 'grpc'] as const) {
    test(`${call}: ${name}`, async () => {
      const { outcome, received } = await sent(options, identityOf, call, now);
      assert.match(outcome, expected);
      assert.equal(received, outcome === 'ok' ? 1 : 0);
    });
  }
}

/** The broker where Node knew one authority more. */
const known = new FakeIdentity('an authority that Node knows', 'ecdsa-sha256');
Object.assign(globalThis, { enclaimTestRoot: pemOf(known.root()) });
const { EgressBroker: Knowing } = await import(
  weakened('runtime/src/egress/broker.ts', { off: ['roots of the system'] })
);

for (const [name, options, expected] of [
  ['an authority that the system knows', { authority: known }, /^ok$/],
  ['the same for another name', { authority: known, names: ['other.example'] }, /no known authority/],
  ['the same, ended', { authority: known, notAfter: NOW - DAY }, /a certificate from/],
  ['another authority', { authority: other }, /no known authority/],
] as const) {
  for (const call of ['http', 'grpc'] as const) {
    test(`${call}: ${name}`, async () => {
      const { outcome, received } = await sent(options, SYSTEM, call, NOW, Knowing);
      assert.match(outcome, expected);
      assert.equal(received, outcome === 'ok' ? 1 : 0);
    });
  }
}
