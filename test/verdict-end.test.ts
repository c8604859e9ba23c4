/** False if this fails: what goes out over a channel goes to a machine whose verdict holds at that moment. */

import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { References } from '@enclaim/attestation';
import { signDeployment } from '@enclaim/attestation/deployment';
import { parseEarClaims, signEar, verifyEar } from '@enclaim/attestation/rats';
import { parseReferences } from '@enclaim/attestation/references';
import { type Ed25519Text, ed25519Key } from '@enclaim/attestation/statement';
import { type Attestation, type AttestedChannel, connect, verifySaved } from '@enclaim/client';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { ECHO, type PretendServer, startPretendServer } from './support/pretend-server.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const owner: Ed25519Text = ed25519Key(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));
const same = (bytes: Buffer): Buffer => bytes;
const text = (time: number): string => new Date(time).toISOString();

let server: PretendServer;
before(async () => {
  server = await startPretendServer({ owner });
});
after(() => server.stop());

/** References whose owner deployed the server from an hour ago until `until`. */
function deployedUntil(...until: number[]): References {
  const { references, attestationKey } = server;
  const deployments = until.map((end) =>
    signDeployment(
      {
        policy: references.policy,
        devices: [`ak:${attestationKey}`],
        notBefore: text(Date.now() - 3_600_000),
        notAfter: text(end),
      },
      (message) => sign(null, message, privateKey),
    ),
  );
  return { ...references, owner, deployments };
}

function clientOf(channel: AttestedChannel): Client {
  return new Client('x', credentials.createInsecure(), { channelOverride: channel });
}

function unary(client: Client): Promise<status> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      `${ECHO}Unary`,
      same,
      same,
      Buffer.from('x'),
      new Metadata(),
      (error: ServiceError | null) => resolve(error === null ? status.OK : error.code),
    );
  });
}

describe('a verdict', () => {
  test('ends with the earliest of what it rests on', async () => {
    const now = Date.now();
    const validity = (end: number) => ({ validity: { notBefore: text(now - 1000), notAfter: text(end) } });
    const rows: [References, string | null, number][] = [
      [server.references, null, 0],
      [deployedUntil(now + 50_000), 'deployment', now + 50_000],
      [{ ...server.references, ...validity(now + 70_000) }, 'references', now + 70_000],
      [{ ...deployedUntil(now + 50_000), ...validity(now + 70_000) }, 'deployment', now + 50_000],
      [{ ...deployedUntil(now + 90_000), ...validity(now + 70_000) }, 'references', now + 70_000],
    ];
    for (const [references, what, end] of rows) {
      const channel = await connect(server.target, { references });
      channel.close();
      const { verdict, evidence } = channel.attestation;
      assert.deepEqual(verdict.end, what === null ? null : { notAfter: text(end), what });
      if (what !== null) {
        const { verdict: late } = await verifySaved(evidence, { references, now: () => end + 1 });
        assert.equal(late.ok, false);
        const { verdict: last } = await verifySaved(evidence, { references, now: () => end });
        assert.equal(last.ok, true);
      }
    }
  });

  test('on a policy of before holds within its window alone, and ends with it', async () => {
    const now = Date.now();
    const policy = `sha384:${'ee'.repeat(48)}` as const;
    const window = (from: number, until: number, more: object = {}) => ({
      ...{ policy: server.references.policy, bundles: 'any', notBefore: text(from), notAfter: text(until), ...more },
    });
    const rolling = (...rollout: object[]) => ({ ...server.references, policy, rollout }) as References;
    const references = rolling(window(now - 70_000, now + 70_000));
    const channel = await connect(server.target, { references });
    channel.close();
    const { verdict, evidence } = channel.attestation;
    assert.deepEqual(verdict.end, { notAfter: text(now + 70_000), what: 'rollout' });
    const shown = verdict.checks.find(({ id }) => id === 'policy');
    assert.match(shown?.detail ?? '', /^sha384:\w+, accepted until .* beside sha384:eeee/);
    const judged = async (held: References, at: number) => {
      const { verdict: later } = await verifySaved(evidence, { references: held, now: () => at });
      return [later.ok, later.checks.filter(({ outcome }) => outcome === 'failed').map(({ id }) => id)[0] ?? null];
    };
    assert.deepEqual(await judged(references, now + 70_000), [true, null], 'the last moment');
    assert.deepEqual(await judged(references, now - 70_000), [true, null], 'the first moment');
    const outside: readonly [string, References, number][] = [
      ['after the window', references, now + 70_001],
      ['before the window', references, now - 70_001],
      ['at no time at all', references, Number.NaN],
      ['another policy is rolled out', rolling(window(now - 1, now + 1, { policy: `sha384:${'dd'.repeat(48)}` })), now],
      ['another bundle under it', rolling(window(now - 1, now + 1, { bundles: [policy] })), now],
      ['no rollout', { ...server.references, policy }, now],
    ];
    for (const [name, held, at] of outside) assert.equal((await judged(held, at).catch(() => [false]))[0], false, name);
    const two = rolling(window(now - 70_000, now - 1), window(now - 1, now + 5), window(now - 1, now + 9));
    const { verdict: latest } = await verifySaved(evidence, { references: two, now: () => now });
    assert.deepEqual(latest.end, { notAfter: text(now + 9), what: 'rollout' });
    const both = { ...server.references, rollout: [window(now - 1, now + 5, { policy })] } as References;
    const { verdict: updated } = await verifySaved(evidence, { references: both, now: () => now + 6 });
    assert.deepEqual([updated.ok, updated.end], [true, null], 'an updated machine is bound to no window');
  });

  test('is refused where a rollout says no end, or has none in sight', () => {
    const { policy } = server.references;
    const window = { notBefore: '2026-01-01T00:00:00.000Z', notAfter: '2026-12-31T00:00:00.000Z' };
    const one = { policy: `sha384:${'ee'.repeat(48)}`, bundles: 'any', ...window };
    const read = (rollout: unknown): References =>
      parseReferences(Buffer.from(JSON.stringify({ ...server.references, rollout })));
    assert.equal(read([one]).rollout?.length, 1);
    const { notAfter: _, ...endless } = one;
    for (const rollout of [
      [],
      [endless],
      [{ ...one, notAfter: '2027-12-31T00:00:00.000Z' }],
      [{ ...one, notAfter: '2025-12-31T00:00:00.000Z' }],
      [{ ...one, notAfter: 'never' }],
      [{ ...one, policy }],
      Array.from({ length: 9 }, () => one),
    ])
      assert.throws(() => read(rollout), { name: 'AppraisalError', code: 'references' }, JSON.stringify(rollout));
  });

  test('shows when the boot began, by whose clock, and refuses one before what is asked for', async () => {
    const { at } = server.statement.started;
    const { references } = server;
    const shown = async (newerThan?: number): Promise<Attestation['verdict']['checks'][number] | undefined> => {
      const channel = await connect(server.target, { references, newerThan });
      channel.close();
      return channel.attestation.verdict.checks.find(({ id }) => id === 'boot.started');
    };
    const whenever = await shown();
    assert.deepEqual([whenever?.outcome, whenever?.strength], ['passed', 'observed']);
    assert.match(whenever?.detail ?? '', /by the clock of its host/);
    assert.equal((await shown(Date.parse(at)))?.outcome, 'passed');
    await assert.rejects(shown(Date.parse(at) + 1), /boot\.started: .*asked for is a start at or after/);
  });

  test('over a file is no affirmation, and a result ends', async () => {
    const channel = await connect(server.target, { references: deployedUntil(Date.now() + 600_000) });
    channel.close();
    const { verdict, evidence } = channel.attestation;
    const saved = await verifySaved(evidence, { references: server.references });
    const iat = Math.floor(Date.now() / 1000);
    const issue = { iat, asOf: iat * 1000, verifier: { build: 'x', developer: 'x' } };
    const spki = publicKey.export({ format: 'der', type: 'spki' });
    const results = [];
    for (const each of [verdict, saved.verdict, { ...verdict, ok: false }]) {
      const token = await signEar(each, issue, 'EdDSA', async (bytes) => sign(null, bytes, privateKey));
      const { exp, submods } = await verifyEar(token, spki, 'EdDSA');
      results.push([submods.tpm?.['ear.status'], (exp ?? 0) - iat]);
    }
    const [first, ...others] = results;
    assert.equal(first?.[0], 'affirming');
    assert.ok(Number(first?.[1]) <= 600 && Number(first?.[1]) > 500, 'with the deployment');
    assert.deepEqual(
      others.map(([status]) => status),
      ['warning', 'contraindicated'],
    );
    assert.equal(others[0]?.[1], 3600);
    assert.throws(() => parseEarClaims(Buffer.from('{"iat":1,"iat":2}')), /same name twice/);
  });
});

describe('a channel', () => {
  test('to a machine under the policy of before carries no call after the window', async () => {
    const end = Date.now() + 600_000;
    let now = Date.now();
    const bundles = 'any' as const;
    const rollout = [{ policy: server.references.policy, bundles, notBefore: text(now - 1), notAfter: text(end) }];
    const references = { ...server.references, policy: `sha384:${'ee'.repeat(48)}`, rollout } as References;
    const channel = await connect(server.target, { references, now: () => now });
    try {
      const client = clientOf(channel);
      now = end;
      assert.equal(await unary(client), status.OK, 'the last moment');
      now = end + 1;
      assert.equal(await unary(client), status.UNAVAILABLE, 'the machine was not updated');
    } finally {
      channel.close();
    }
  });

  test('starts no call after the end, and the next one waits for a verdict that holds', async () => {
    const end = Date.now() + 600_000;
    let now = Date.now();
    const references = deployedUntil(end, end + 600_000);
    const attested: (string | undefined)[] = [];
    const channel = await connect(server.target, {
      references,
      now: () => now,
      onAttested: ({ verdict }) => attested.push(verdict.end?.notAfter),
    });
    try {
      const client = clientOf(channel);
      now = end;
      const before = server.connections;
      assert.equal(await unary(client), status.OK, 'the last moment');
      now = end + 1;
      assert.equal(await unary(client), status.OK, 'under the second deployment');
      assert.equal(server.connections, before + 1);
      assert.deepEqual(attested, [text(end), text(end + 600_000)]);
      now = end + 600_001;
      assert.equal(await unary(client), status.UNAVAILABLE, 'no deployment is left');
      assert.equal(await unary(client), status.UNAVAILABLE, 'nor at the next try');
    } finally {
      channel.close();
    }
  });

  test('ends a stream that goes on after the verdict, and nothing goes out any more', async () => {
    // The clock that counts here is this machine's: the timer runs by it.
    const references = deployedUntil(Date.now() + 2_000);
    const channel = await connect(server.target, { references });
    try {
      const stream = clientOf(channel).makeBidiStreamRequest(`${ECHO}Bidi`, same, same);
      let echoed = 0;
      stream.on('data', () => echoed++);
      const ended = new Promise<ServiceError>((resolve) => stream.on('error', resolve));
      let over = false;
      const talking = (async () => {
        for (; !over; await sleep(20)) stream.write(Buffer.from('x'));
      })();
      const { code, details } = await ended;
      over = true;
      await talking;
      assert.equal(code, status.UNAVAILABLE);
      assert.match(details, /verdict of its connection has ended/);
      assert.ok(echoed > 0);
    } finally {
      channel.close();
    }
  });

  test('asks for evidence again when a verdict is old, though nothing has ended', async () => {
    let now = Date.now();
    const channel = await connect(server.target, {
      references: server.references,
      now: () => now,
      maxVerdictAge: 60_000,
    });
    try {
      const client = clientOf(channel);
      const before = server.connections;
      assert.equal(await unary(client), status.OK);
      assert.equal(server.connections, before);
      now += 60_001;
      assert.equal(await unary(client), status.OK);
      assert.equal(server.connections, before + 1);
    } finally {
      channel.close();
    }
  });
});

test('references are read strictly: no name stands twice', () => {
  const written = JSON.stringify(server.references);
  assert.throws(() => parseReferences(Buffer.from(written.replace('{', '{"owner":"any",'))), /same name twice/);
});
