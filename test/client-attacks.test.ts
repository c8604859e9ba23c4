/**
 * Attacks on the channel. Each is refused by the layer it names, before a byte of the application leaves; beside it stands
 * what shows that this very defence refused: the same evidence without the attack, or with the defence left out.
 */

import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { appraise, type References, verifyEvidence } from '@enclaim/attestation';
import { utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256 } from '@enclaim/attestation/digest';
import { type Evidence, EvidenceSchema } from '@enclaim/attestation/evidence';
import { checkReceiptMessages } from '@enclaim/attestation/receipt';
import { type AttestedChannel, type CheckedReceipt, connect, verifySaved } from '@enclaim/client';
import { Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { fakeAttestationKey } from './fakes/attestation-key.ts';
import { clinicBundle } from './support/app.ts';
import { bootAttested } from './support/attested-runtime.ts';
import { startInPathProxy } from './support/in-path-proxy.ts';
import { ECHO, type PretendOptions, type PretendServer, startPretendServer } from './support/pretend-server.ts';
import { failing } from './support/refused.ts';

/** Runs against a server, and stops it. */
async function against(options: PretendOptions, run: (server: PretendServer) => Promise<void>): Promise<void> {
  const server = await startPretendServer(options);
  try {
    await run(server);
  } finally {
    server.stop();
  }
}

/** What an honest connection to this server shows. */
async function evidenceOf({ target, references }: PretendServer): Promise<Uint8Array> {
  const channel = await connect(target, { references });
  try {
    return channel.attestation.evidence;
  } finally {
    channel.close();
  }
}

async function refusedWith(code: string, target: string, references: References): Promise<void> {
  await assert.rejects(connect(target, { references }), { name: 'EvidenceError', code });
}

/** The verdict of saved evidence, without nonce and channel: the control of every attack on those two. */
async function offline(evidence: Uint8Array, references: References): Promise<boolean> {
  return (await verifySaved(evidence, { references })).verdict.ok;
}

/** Sets the hardware part's fields. */
function tpm(evidence: Evidence): Extract<Evidence['hardware'], { case: 'tpm' }>['value'] {
  assert(evidence.hardware.case === 'tpm');
  return evidence.hardware.value;
}

describe('receipts of one call', () => {
  test('the receipt of an equal call before, given again by the server', async () => {
    await against({ replays: true }, async ({ target, references }) => {
      const receipts: CheckedReceipt[] = [];
      await using channel = await connect(target, { references, onReceipt: (receipt) => void receipts.push(receipt) });
      const ask = (): Promise<StatusObject> => echoed(channel, 'Unary', 'equal');
      assert.equal((await ask()).code, status.OK);
      const again = await ask();
      assert.deepEqual(
        [again.code, again.details],
        [status.DATA_LOSS, "receipt refused: receipt does not repeat the caller's nonce"],
      );
      // The control: but for the nonce, the first receipt speaks of the second call, too.
      const [first] = receipts;
      assert(first !== undefined && receipts.length === 1 && first.body.version === 3);
      const { body, call } = first;
      assert.equal(checkReceiptMessages({ body }, { method: body.method, status: 0, ...call }), 'both');
      assert.match(body.nonce ?? '', /^[0-9a-f]{32}$/);
    });
  });

  test('a receipt without a nonce, or of a version that has none, from a boot that repeats them', async () => {
    for (const receipt of [{ nonce: null }, { nonce: '00'.repeat(16) }]) {
      await against({ receipt }, async ({ target, references }) => {
        await using channel = await connect(target, { references });
        assert.equal((await echoed(channel, 'Unary', 'x')).code, status.DATA_LOSS);
      });
    }
  });

  test("a program's own nonce goes out as it is, and its receipt repeats it", async () => {
    await against({}, async ({ target, references }) => {
      const receipts: CheckedReceipt[] = [];
      await using channel = await connect(target, { references, onReceipt: (receipt) => void receipts.push(receipt) });
      const own = randomBytes(32);
      const metadata = new Metadata();
      metadata.set('enclaim-nonce-bin', own);
      assert.equal((await echoed(channel, 'Unary', 'x', metadata)).code, status.OK);
      assert.equal(receipts[0]?.body.version === 3 && receipts[0].body.nonce, own.toString('hex'));
      assert.deepEqual(metadata.get('enclaim-nonce-bin'), [own], 'what the program gave is not changed');
    });
  });
});

/** The status of one call of the echo service. */
function echoed(
  channel: AttestedChannel,
  name: string,
  text: string,
  metadata = new Metadata(),
): Promise<StatusObject> {
  const call = channel.createCall(`${ECHO}${name}`, Number.POSITIVE_INFINITY, null, null, null);
  return new Promise((resolve) => {
    call.start(metadata, {
      onReceiveMetadata: () => {},
      onReceiveMessage: () => call.startRead(),
      onReceiveStatus: resolve,
    });
    call.startRead();
    call.sendMessageWithContext({}, Buffer.from(text));
    call.halfClose();
  });
}

describe('freshness', () => {
  test('evidence replayed by the server itself', async () => {
    let first: Evidence | undefined;
    const forge = (evidence: Evidence): void => {
      first ??= { ...evidence };
      Object.assign(evidence, first);
    };
    await against({ forge }, async (server) => {
      const evidence = await evidenceOf(server);
      await refusedWith('nonce', server.target, server.references);
      assert.ok(await offline(evidence, server.references), 'the replayed evidence is good but for its age');
    });
  });

  test('evidence replayed by somebody on the path', async () => {
    await against({}, async (server) => {
      const saved = await evidenceOf(server);
      const proxy = await startInPathProxy(server.port, ({ step }) => {
        if (step.case === 'evidence') step.value = fromBinary(EvidenceSchema, saved);
      });
      try {
        await refusedWith('nonce', proxy.target, server.references);
        assert.deepEqual(proxy.steps, ['hello']);
        assert.equal(proxy.leaked(), 0);
      } finally {
        proxy.close();
      }
    });
  });

  test('the statement of an old boot under a fresh quote, and a fresh statement under an old quote', async () => {
    let old: Evidence | undefined;
    let attack: 'statement' | 'quote' = 'statement';
    const forge = (evidence: Evidence): void => {
      if (old === undefined) old = { ...evidence };
      else if (attack === 'statement') evidence.statement = old.statement;
      else evidence.hardware = old.hardware;
    };
    await against({ forge }, async (server) => {
      await evidenceOf(server);
      server.rotate();
      // The old statement names the old TLS key: the new leaf does not fit it.
      await refusedWith('binding', server.target, server.references);
      attack = 'quote';
      await refusedWith('nonce', server.target, server.references);
    });
  });
});

describe('whose connection it is', () => {
  test('evidence relayed from a genuine instance, under the certificate of whoever relays', async () => {
    await against({}, async (server) => {
      let relayed: Uint8Array | undefined;
      const proxy = await startInPathProxy(server.port, ({ step }) => {
        if (step.case === 'evidence') relayed = toBinary(EvidenceSchema, step.value);
      });
      try {
        await refusedWith('binding', proxy.target, server.references);
        assert.equal(proxy.leaked(), 0);
        assert(relayed !== undefined);
        assert.ok(await offline(relayed, server.references), 'the relayed evidence is good: only the channel is not');
      } finally {
        proxy.close();
      }
    });
  });

  test('a genuine key of another boot, and another connection under the same key', async () => {
    await against({}, async (server) => {
      const seen = fromBinary(EvidenceSchema, await evidenceOf(server));
      const leaf = seen.leaf?.data ?? new Uint8Array();
      const [nonce, spki, exporter] = [leaf.subarray(5, 37), leaf.subarray(37, 69), leaf.subarray(69, 101)];
      const verify = (channel: { nonce: Uint8Array; spki: Uint8Array; exporter: Uint8Array | null }) =>
        verifyEvidence(toBinary(EvidenceSchema, seen), server.references.anchors, {
          now: Date.now(),
          channel,
          activation: null,
        });
      await verify({ nonce, spki, exporter });
      await assert.rejects(verify({ nonce, spki: randomBytes(32), exporter }), { code: 'binding' });
      await assert.rejects(verify({ nonce, spki, exporter: randomBytes(32) }), { code: 'binding' });
      await assert.rejects(verify({ nonce: randomBytes(32), spki, exporter }), { code: 'nonce' });
      // One end that cannot export is said, not hidden.
      const { checks } = await verify({ nonce, spki, exporter: null });
      assert.match(checks.find(({ id }) => id === 'channel')?.detail ?? '', /this end cannot export/);
    });
  });

  test('evidence for every connection under a key, to a client that could tell them apart', async () => {
    await against({ unbound: true }, ({ target, references }) => refusedWith('binding', target, references));
  });

  test('a statement that names another TLS key than the connection', async () => {
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'der', type: 'spki' });
    const some = `ed25519:${'A'.repeat(43)}` as const;
    const keys = { tls: digestText('sha256', sha256(other)), receipt: some, log: some };
    await against({ statement: { keys } }, ({ target, references }) => refusedWith('binding', target, references));
  });
});

describe('what signs', () => {
  const attributes = fakeAttestationKey().publicArea.attributes;

  test('a key that signs whatever it is given', async () => {
    const key = fakeAttestationKey({ attributes: attributes.filter((attribute) => attribute !== 'restricted') });
    await against({ key }, ({ target, references }) => refusedWith('key', target, references));
    await against({ key: fakeAttestationKey() }, async (server) => void (await evidenceOf(server)));
  });

  test('a key that can leave its TPM', async () => {
    const key = fakeAttestationKey({ attributes: attributes.filter((attribute) => attribute !== 'fixedTPM') });
    await against({ key }, ({ target, references }) => refusedWith('key', target, references));
  });

  test('a genuine key that nobody trusts', async () => {
    await against({}, async ({ target, references }) => {
      const anchors = { ...references.anchors, attestationKeys: [] };
      // Not pinned, so it would have to be activated beside an endorsement key: what is given for one is none.
      await refusedWith('format', target, { ...references, anchors });
    });
  });

  test('another attestation key than the statement names', async () => {
    const forge = (evidence: Evidence): void => {
      tpm(evidence).ekPublic = utf8('the endorsement key of another machine');
    };
    await against({ forge }, ({ target, references }) => refusedWith('binding', target, references));
  });
});

describe('what was measured', () => {
  /** Changes of register values, each with the layer that finds it out. */
  for (const [what, index] of [
    ['policy', 15],
    ['bundle', 14],
    ['kernel', 4],
  ] as const) {
    test(`the register of the ${what}, forged`, async () => {
      const forge = (evidence: Evidence): void => {
        const pcr = tpm(evidence).pcrs[index];
        if (pcr !== undefined) pcr.sha256 = randomBytes(32);
      };
      await against({ forge }, ({ target, references }) => refusedWith('registers', target, references));
    });
  }

  test('registers left out, put twice, or in another order', async () => {
    for (const change of [
      (all: unknown[]) => all.slice(1),
      (all: unknown[]) => [...all, all[15]],
      (all: unknown[]) => all.toReversed(),
    ]) {
      const forge = (evidence: Evidence): void => {
        const value = tpm(evidence);
        value.pcrs = change(value.pcrs) as typeof value.pcrs;
      };
      await against({ forge }, ({ target, references }) => refusedWith('format', target, references));
    }
  });

  test('a command line that was not measured', async () => {
    const forge = (evidence: Evidence): void => {
      tpm(evidence).commandLine += ' init=/bin/sh';
    };
    await against({ forge }, ({ target, references }) => refusedWith('binding', target, references));
  });

  test('a bundle that the registers do not carry', async () => {
    const statement = { bundle: digestText('sha384', new Uint8Array(48)) };
    await against({ statement }, ({ target, references }) => refusedWith('binding', target, references));
  });
});

describe('what platform it is', () => {
  test('simulated evidence to a client that did not ask for it', async () => {
    const device = { ak: null, ek: null, ekCertificate: null };
    await against({ statement: { platform: 'simulated', device } }, ({ target, references }) =>
      refusedWith('platform', target, references),
    );
    await against({ statement: { platform: 'simulated' } }, ({ target, references }) =>
      refusedWith('binding', target, references),
    );
  });

  test('evidence of one platform with the statement of another', async () => {
    for (const platform of ['snp', 'simulated', '', 'TPM']) {
      const forge = (evidence: Evidence): void => {
        evidence.platform = platform;
      };
      await against({ forge }, ({ target, references }) => refusedWith('platform', target, references));
    }
  });

  test('a statement that names an event log where evidence carries none', async () => {
    const statement = { events: digestText('sha256', sha256(utf8('log'))) };
    await against({ statement }, ({ target, references }) => refusedWith('binding', target, references));
  });

  test('evidence without hardware', async () => {
    const forge = (evidence: Evidence): void => {
      evidence.hardware = { case: undefined };
    };
    await against({ forge }, ({ target, references }) => refusedWith('platform', target, references));
  });
});

test('no check can be left out of a verdict without it saying no', async () => {
  await against({}, async (server) => {
    const channel = await connect(server.target, { references: server.references });
    channel.close();
    const { evidence, verdict } = channel.attestation;
    const authenticated = await verifyEvidence(evidence, server.references.anchors, {
      now: Date.now(),
      channel: 'offline',
      activation: null,
    });
    assert.deepEqual(failing((await appraise(authenticated, server.references, [])).checks), []);
    const ids = verdict.checks.map(({ id }) => id);
    for (const id of [
      'quote.signature',
      'quote.key',
      'quote.statement',
      'nonce',
      'channel',
      'policy',
      'bundle',
      'owner',
    ])
      assert.ok(ids.includes(id), id);
    for (let register = 0; register < 16; register++) assert.ok(ids.includes(`register.${register}`), `${register}`);
    const wrong: References = { ...server.references, images: [] };
    assert.equal((await appraise(authenticated, wrong, [])).ok, false);
  });
});

test('a clock set back or forward, past the dates of the certificates', async () => {
  const server = await bootAttested(await clinicBundle());
  try {
    const { target, references } = server;
    // A software TPM's certificates end with the year 9999; those of processors are a matter of their own tests.
    for (const year of [1990, 10_000]) {
      const now = (): number => Date.UTC(year, 0);
      await assert.rejects(
        connect(target, { references, now }),
        { name: 'EvidenceError', code: 'validity' },
        `${year}`,
      );
    }
    (await connect(target, { references })).close();
  } finally {
    await server.stop();
  }
});
