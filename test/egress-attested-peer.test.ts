/** One system under Enclaim that sends to another: by the other's evidence, held against references in the policy. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { References } from '@enclaim/attestation';
import { digestText, sha256 } from '@enclaim/attestation/digest';
import type { PeerIdentity, Subprocessor } from '@enclaim/policy-schema/admission';
import { EgressBroker } from '../runtime/src/egress/broker.ts';
import { RefusalError } from '../runtime/src/errors.ts';
import { startSubprocessor } from './fakes/subprocessor.ts';
import { clinicBundle } from './support/app.ts';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';
import { caseOf, SUBMIT } from './support/notify-app.ts';

const OTHER = '0'.repeat(96);
const WINDOW = { notBefore: '2026-01-01T00:00:00.000Z', notAfter: '2026-12-31T00:00:00.000Z' };
const never = new AbortController().signal;
const METHOD = SUBMIT.slice(1) as `${string}/${string}`;

let booted: AttestedRuntime;
let references: References;
before(async () => {
  booted = await bootAttested(await clinicBundle());
  // Nothing is activated on the way out: the key itself has to be known.
  const pinned = digestText('sha256', sha256(booted.attester.akPublic));
  references = { ...booted.references, anchors: { ...booted.references.anchors, attestationKeys: [pinned] } };
});
after(() => booted.stop());

/** How the policy knows the other system, where nothing is changed. */
function identityOf(changed: Partial<References> = {}, rest: object = {}): PeerIdentity {
  const text = JSON.stringify({ ...references, ...changed });
  const [{ id } = assert.fail()] = references.images;
  return { attested: { policy: references.policy, image: id, references: text, ...rest } as never };
}

function brokerFor(identity: PeerIdentity, port = booted.runtime.port): EgressBroker {
  const peer: Subprocessor = {
    description: '',
    address: `https://peer.example:${port}`,
    identity,
    region: 'r',
    receives: [],
    calls: [],
    assurance: 'none',
  };
  return new EgressBroker({
    subprocessors: { peer },
    resolve: async () => ['127.0.0.1'],
    now: Date.now,
    timeout: 20_000,
  });
}

const submitted = (identity: PeerIdentity, port?: number) =>
  brokerFor(identity, port).send('peer', METHOD, caseOf(null), never);

/** Why a sending was refused, with what was found at the other end. */
async function refusal(sent: Promise<unknown>): Promise<string> {
  return sent.then(
    () => assert.fail('it was sent'),
    (error: unknown) => {
      assert(error instanceof RefusalError, String(error));
      return `${error.code} ${error.pointer}: ${(error.cause as Error).message}`;
    },
  );
}

test('evidence that the references accept lets the message through, and the answer back', async () => {
  const { status, body } = await submitted(identityOf());
  assert.equal(status, 'ok');
  assert.ok(body.length > 10);
});

describe('refused before the message', () => {
  const CASES: Readonly<Record<string, readonly [() => PeerIdentity, RegExp]>> = {
    'another bundle': [() => identityOf({ bundles: [`sha384:${OTHER}`] }), /verdict is not ok: bundle/],
    'another policy': [
      () => identityOf({ policy: `sha384:${OTHER}` }, { policy: `sha384:${OTHER}` }),
      /verdict is not ok: .*policy/,
    ],
    'another image': [
      () => {
        const [image = assert.fail()] = references.images;
        return identityOf({ images: [{ ...image, initrd: `sha256:${'0'.repeat(64)}` }] });
      },
      /verdict is not ok: register\.9/,
    ],
    'another TPM': [
      () => identityOf({ anchors: { ...references.anchors, attestationKeys: [`sha256:${'0'.repeat(64)}`] } }),
      /activat|pinned|attestation key/,
    ],
    'workers without the layers of a VM': [
      () => identityOf({ unsafeUnconfined: [] }),
      /verdict is not ok: confinement/,
    ],
  };
  for (const [name, [identity, pattern]] of Object.entries(CASES)) {
    test(name, async () => {
      const said = await refusal(submitted(identity()));
      assert.match(said, /^peer \/subprocessors\/peer\/identity: /);
      assert.match(said, pattern);
    });
  }

  test('somebody who has no evidence', async () => {
    for (const protocols of [['h2', 'http/1.1'], ['enclaim-h2']]) {
      const impostor = await startSubprocessor({ names: ['peer.example'], protocols });
      const said = await refusal(submitted(identityOf(), impostor.port));
      assert.match(said, /^peer/);
      assert.equal(impostor.received.length, 0);
      await impostor.stop();
    }
  });

  test('a call by HTTP', async () => {
    const sent = brokerFor(identityOf()).send('peer', { verb: 'POST', path: '/' }, Buffer.from('{}'), never);
    assert.match(await refusal(sent), /gRPC only/);
  });
});

test('references that are none, or accept more than the policy says, are refused before anything is served', () => {
  const id = `sha256:${'0'.repeat(64)}`;
  const enclave = `sha384:${OTHER}` as const;
  for (const [identity, pattern] of [
    [identityOf({}, { references: undefined }), /no references/],
    [identityOf({}, { references: '{}' }), /unusable/],
    [identityOf({ rollout: [{ policy: `sha384:${OTHER}`, bundles: 'any', ...WINDOW }] }), /a second policy/],
    [identityOf({ policy: `sha384:${OTHER}` }), /accept policy/],
    [identityOf({}, { image: id }), /accept image/],
    [identityOf({ nitro: [{ pcr0: enclave, pcr1: enclave, pcr2: enclave }] }), /accept image sha384/],
  ] as const) {
    assert.throws(() => brokerFor(identity), { code: 'policy', message: pattern });
  }
});
