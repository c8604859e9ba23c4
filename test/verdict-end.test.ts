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
