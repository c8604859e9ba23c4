/** Every command of the table on a software TPM. The last test fails where one was left out. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { equalBytes, Reader } from '../../attestation/src/bytes.ts';
import { sha256 } from '../../attestation/src/digest.ts';
import { DecodeError } from '../../attestation/src/errors.ts';
import {
  extendPcr as foldPcr,
  HIERARCHY,
  nameOf,
  type PcrSelection,
  parseAttest,
  parsePublic,
  parseSignature,
  qualifiedNameOfPrimary,
} from '../../attestation/src/tpm/index.ts';
import * as commands from '../../guest/src/tpm/commands.ts';
import { TpmError, type TpmErrorCode } from '../../guest/src/tpm/error.ts';
import { NvCounter, readNv } from '../../guest/src/tpm/nv.ts';
import { AK_TEMPLATE, createPrimary, SRK_TEMPLATE } from '../../guest/src/tpm/primary.ts';
import { extendPcr, readPcrs } from '../../guest/src/tpm/registers.ts';
import { seal, unseal } from '../../guest/src/tpm/sealing.ts';
import { Tpm } from '../../guest/src/tpm/tpm.ts';
import { type Swtpm, startSwtpm } from '../fakes/swtpm.ts';

const EMPTY = new Uint8Array();
const { owner, endorsement } = HIERARCHY;

let swtpm: Swtpm;
let tpm: Tpm;
const used = new Set<number>();
before(async () => {
  swtpm = await startSwtpm();
  const { send, close } = await swtpm.connect();
  tpm = new Tpm({
    send: (command) => {
      used.add(new Reader(command.subarray(6)).u32be());
      return send(command);
    },
    close,
  });
});
after(async () => {
  await tpm.close();
  await swtpm.stop();
});

const refusedWith =
  (...codes: TpmErrorCode[]) =>
  (error: unknown): boolean =>
    error instanceof TpmError && codes.includes(error.code) && error.rc !== 0;

const withPrimary = async <T>(template: typeof AK_TEMPLATE, use: (handle: number) => Promise<T>): Promise<T> =>
  tpm.using((await createPrimary(tpm, 'owner', template)).handle, use);

const transient = async (): Promise<readonly number[]> => {
  const { data } = await tpm.run(commands.GET_CAPABILITY, { capability: 'handles', property: 0x8000_0000, count: 254 });
  return data.capability === 'handles' ? data.handles : assert.fail();
};

test('GetCapability: properties, banks, handles', async () => {
  const { data } = await tpm.run(commands.GET_CAPABILITY, { capability: 'properties', property: 0x105, count: 1 });
  assert.deepEqual(data, { capability: 'properties', properties: [{ property: 0x105, value: 0x4942_4d00 }] }, 'IBM');
  const pcrs = (await tpm.run(commands.GET_CAPABILITY, { capability: 'pcrs', property: 0, count: 1 })).data;
  assert.ok(pcrs.capability === 'pcrs');
  assert.deepEqual(
    pcrs.banks.map(({ bank, bitmap }) => [bank, bitmap.toHex()]),
    [0x04, 0x0b, 0x0c, 0x0d].map((bank) => [bank, 'ffffff']),
  );
  assert.deepEqual(await transient(), []);
});

test('GetRandom', async () => {
  const [a, b] = await Promise.all([1, 2].map(() => tpm.run(commands.GET_RANDOM, { count: 32 })));
  assert.equal(a?.bytes.length, 32);
  assert.notDeepEqual(a, b);
});

test('CreatePrimary, ReadPublic, FlushContext: names as computed here', async () => {
  const { handle, publicArea } = await createPrimary(tpm, 'endorsement', AK_TEMPLATE);
  const read = await tpm.using(handle, (object) => tpm.run(commands.READ_PUBLIC, { object }));
  assert.deepEqual(read.publicArea, publicArea);
  assert.deepEqual(read.name, nameOf(publicArea));
  assert.deepEqual(read.qualifiedName, qualifiedNameOfPrimary(publicArea, 'endorsement'));
  await assert.rejects(tpm.run(commands.READ_PUBLIC, { object: handle }), refusedWith('reference-h0', 'handle'));
  assert.deepEqual(await transient(), []);
});

test('Create, Load, Certify, Quote: a certification is not a quote', () =>
  withPrimary(SRK_TEMPLATE, async (parent) => {
    const sensitive = { userAuth: EMPTY, data: EMPTY };
    const created = await tpm.run(commands.CREATE, { parent, sensitive, publicArea: AK_TEMPLATE, creationPcrs: [] });
    const { handle, name } = await tpm.run(commands.LOAD, { parent, ...created });
    await tpm.using(handle, async (sign) => {
      const qualifyingData = randomBytes(16);
      const certified = await tpm.run(commands.CERTIFY, { object: parent, sign, qualifyingData });
      const attest = parseAttest(certified.attest);
      assert.ok(attest.type === 'certify' && equalBytes(attest.extraData, qualifyingData));
      assert.equal(parseSignature(certified.signature).scheme, 'ecdsa');
      const selection: PcrSelection = [{ bank: 'sha256', pcrs: [0, 23] }];
      const quoted = parseAttest((await tpm.run(commands.QUOTE, { sign, qualifyingData, selection })).attest);
      assert.ok(quoted.type === 'quote' && quoted.selection.length === 1);
      assert.deepEqual(name, nameOf(created.publicArea));
    });
  }));

test('a fourth object is one too many, and none stays behind', async () => {
  const open = (depth: number): Promise<unknown> =>
    withPrimary(AK_TEMPLATE, () => (depth === 0 ? Promise.resolve() : open(depth - 1)));
  await assert.rejects(open(3), refusedWith('object-memory'));
  assert.deepEqual(await transient(), []);
});

test('PCR_Read, PCR_Extend', async () => {
  const selection: PcrSelection = [
    { bank: 'sha1', pcrs: [3, 8] },
    { bank: 'sha256', pcrs: Array.from({ length: 24 }, (_, pcr) => pcr) },
  ];
  const banks = await readPcrs(tpm, selection);
  assert.equal(banks.get('sha256')?.size, 24);
  assert.equal(banks.get('sha1')?.get(8)?.length, 20);
  await extendPcr(tpm, 8, [{ bank: 'sha256', digest: sha256(EMPTY) }]);
  await extendPcr(tpm, 3, [{ bank: 'sha1', digest: new Uint8Array(20) }]);
  const after = await readPcrs(tpm, selection);
  assert.deepEqual(after.get('sha1')?.get(8), banks.get('sha1')?.get(8), 'a bank that is not extended keeps its value');
  assert.notDeepEqual(after.get('sha256')?.get(8), banks.get('sha256')?.get(8));
  assert.notDeepEqual(after.get('sha1')?.get(3), banks.get('sha1')?.get(3));
  await assert.rejects(extendPcr(tpm, 17, [{ bank: 'sha256', digest: sha256(EMPTY) }]), refusedWith('locality'));
});

describe('seal and Unseal', () => {
  const selection: PcrSelection = [{ bank: 'sha256', pcrs: [0, 12] }];
  const secret = randomBytes(32);

  test('the secret comes back, and no changed byte gives any', async () => {
    const banks = await readPcrs(tpm, selection);
    const blob = await seal(tpm, secret, selection, banks);
    assert.deepEqual(Buffer.from(await unseal(tpm, blob, selection, banks)), secret);
    for (let i = 0; i < blob.length; i++) {
      const changed = blob.with(i, (blob[i] ?? 0) ^ 1);
      const given = await unseal(tpm, changed, selection, banks).catch((error: unknown) => error);
      assert.ok(given instanceof TpmError || given instanceof DecodeError, `byte ${i}`);
    }
    assert.deepEqual(await transient(), []);
  });

  test('only while the registers have the values, which another boot may be the first to have', async () => {
    const [now, digest] = [await readPcrs(tpm, selection), sha256(secret)];
    const values = now.get('sha256') ?? assert.fail();
    const extended = foldPcr('sha256', values.get(12) ?? assert.fail(), digest);
    const next = new Map([['sha256', new Map([...values, [12, extended]])]] as const);
    const [ours, theirs] = [await seal(tpm, secret, selection, now), await seal(tpm, secret, selection, next)];
    await assert.rejects(unseal(tpm, theirs, selection, now), refusedWith('policy-fail'));
    await extendPcr(tpm, 12, [{ bank: 'sha256', digest }]);
    await assert.rejects(unseal(tpm, ours, selection, now), refusedWith('policy-fail'));
    assert.deepEqual(Buffer.from(await unseal(tpm, theirs, selection, now)), secret);
    // Sealed by the boot before, which is not what the caller trusts here.
    await assert.rejects(unseal(tpm, theirs, selection, next), { code: 'provenance' });
  });

  test('a secret that other software sealed to our values is refused', async () => {
    const ours = await readPcrs(tpm, selection);
    const ourBlob = await seal(tpm, secret, selection, ours);
    // Another boot: its registers differ, so its proof of creation does; it seals what it knows to our values.
    await extendPcr(tpm, 12, [{ bank: 'sha256', digest: sha256(secret) }]);
    const planted = await seal(tpm, Buffer.from('known to the attacker'), selection, ours);
    await assert.rejects(unseal(tpm, planted, selection, ours), { code: 'provenance' });
    // The proof of our creation beside his secret is not the proof of his.
    const cut = (blob: Uint8Array): number => {
      const reader = new Reader(blob.subarray(4));
      for (let i = 0; i < 2; i++) reader.skip(reader.u16be());
      return 4 + reader.at;
    };
    const mixed = Buffer.concat([planted.subarray(0, cut(planted)), ourBlob.subarray(cut(ourBlob))]);
    await assert.rejects(unseal(tpm, mixed, selection, ours), refusedWith('ticket'));
  });

  test('no password opens it', async () => {
    const banks = await readPcrs(tpm, selection);
    const reader = new Reader((await seal(tpm, secret, selection, banks)).subarray(4));
    const publicArea = parsePublic(reader.take(reader.u16be()));
    const privateArea = reader.take(reader.u16be());
    await withPrimary(SRK_TEMPLATE, async (parent) => {
      const { handle } = await tpm.run(commands.LOAD, { parent, publicArea, privateArea });
      await tpm.using(handle, (item) =>
        assert.rejects(tpm.run(commands.UNSEAL, { item }), refusedWith('auth-unavailable')),
      );
    });
  });
});

test('NV: define, write, read in pieces, undefine', async () => {
  const index = 0x0150_0001;
  const data = randomBytes(1300);
  const attributes: commands.NvAttribute[] = ['authWrite', 'authRead', 'noDA'];
  const nvPublic = { nvIndex: index, nameAlg: 'sha256', attributes, authPolicy: EMPTY, dataSize: data.length } as const;
  assert.equal(await readNv(tpm, index), undefined, 'no index');
  await tpm.run(commands.NV_DEFINE_SPACE, { hierarchy: owner, auth: EMPTY, nvPublic });
  assert.equal(await readNv(tpm, index), undefined, 'never written');
  for (const offset of [0, 1024]) {
    const piece = data.subarray(offset, offset + 1024);
    await tpm.run(commands.NV_WRITE, { by: index, index, data: piece, offset });
  }
  assert.deepEqual(Buffer.from((await readNv(tpm, index)) ?? EMPTY), data);
  assert.deepEqual((await tpm.run(commands.NV_READ_PUBLIC, { index })).nvPublic.dataSize, 1300);
  await assert.rejects(NvCounter.open(tpm, index), { code: 'unusable' });
  await tpm.run(commands.NV_UNDEFINE_SPACE, { hierarchy: owner, index });
});

test('NV counters never go back, not by removal either', async () => {
  const counter = await NvCounter.open(tpm, 0x0150_0002);
  await assert.rejects(counter.read(), refusedWith('nv-uninitialized'));
  const first = await counter.increment();
  assert.equal(await counter.increment(), first + 1n);
  assert.equal(await (await NvCounter.open(tpm, 0x0150_0002)).read(), first + 1n);
  await counter.remove();
  assert.ok((await (await NvCounter.open(tpm, 0x0150_0002)).increment()) > first + 1n);
});

test('PolicyNV: a secret under a counter opens at one value of it, and under no other index', async () => {
  const selection: PcrSelection = [{ bank: 'sha256', pcrs: [12] }];
  const banks = await readPcrs(tpm, selection);
  const counter = await NvCounter.open(tpm, 0x0150_0002);
  const value = await counter.increment();
  const at = (value: bigint, { index, name } = counter) => ({ index, name, value });
  const blob = await seal(tpm, Buffer.from('secret'), selection, banks, at(value));
  const open = (demand: ReturnType<typeof at>) => unseal(tpm, blob, selection, banks, demand);
  assert.equal(Buffer.from(await open(at(value))).toString(), 'secret');
  await assert.rejects(open(at(value + 1n)), refusedWith('policy'));
  const other = await NvCounter.open(tpm, 0x0150_0003);
  await assert.rejects(open(at(await other.increment(), other)), refusedWith('policy-fail'));
  await counter.increment();
  await assert.rejects(open(at(value)), refusedWith('policy'));
  await assert.rejects(open(at(value + 1n)), refusedWith('policy-fail'));
  await assert.rejects(unseal(tpm, blob, selection, banks), refusedWith('policy-fail'));
});

test('ContextSave, ContextLoad: the same key, only as it was saved', () =>
  withPrimary(AK_TEMPLATE, async (object) => {
    const { context } = await tpm.run(commands.CONTEXT_SAVE, { object });
    const { handle } = await tpm.run(commands.CONTEXT_LOAD, { context });
    const [saved, loaded] = await tpm.using(handle, (copy) =>
      Promise.all([object, copy].map((object) => tpm.run(commands.READ_PUBLIC, { object }))),
    );
    assert.deepEqual(saved, loaded);
    const changed = context.with(context.length - 1, (context.at(-1) ?? 0) ^ 1);
    await assert.rejects(tpm.run(commands.CONTEXT_LOAD, { context: changed }), refusedWith('integrity'));
  }));

test('EvictControl makes a key persistent, and removes it', async () => {
  const persistent = 0x8101_8000;
  await withPrimary(AK_TEMPLATE, (object) => tpm.run(commands.EVICT_CONTROL, { hierarchy: owner, object, persistent }));
  await tpm.run(commands.READ_PUBLIC, { object: persistent });
  await tpm.run(commands.EVICT_CONTROL, { hierarchy: owner, object: persistent, persistent });
  await assert.rejects(tpm.run(commands.READ_PUBLIC, { object: persistent }), refusedWith('handle'));
});

test('a password that is wrong is refused', () =>
  assert.rejects(
    tpm.run(commands.EVICT_CONTROL, { hierarchy: owner, object: 0x8100_0000, persistent: 0x8100_0000 }, [
      { kind: 'password', password: Buffer.from('guess') },
    ]),
    refusedWith('bad-auth', 'handle'),
  ));

test('ActivateCredential and PolicySecret: nonsense is refused', async () => {
  const { handle: session } = await tpm.run(commands.START_AUTH_SESSION, {
    ...{ key: HIERARCHY.null, bind: HIERARCHY.null },
    ...{ nonceCaller: randomBytes(32), encryptedSalt: EMPTY },
    ...{ type: 'policy', symmetric: { algorithm: 'none' }, hash: 'sha256' },
  });
  await tpm.using(session, () => tpm.run(commands.POLICY_SECRET, { entity: endorsement, session }));
  await withPrimary(AK_TEMPLATE, (activate) =>
    withPrimary(SRK_TEMPLATE, (key) =>
      assert.rejects(
        tpm.run(commands.ACTIVATE_CREDENTIAL, {
          ...{ activate, key },
          ...{ credentialBlob: new Uint8Array(80), encryptedSecret: new Uint8Array(70) },
        }),
        refusedWith('ecc-point'),
      ),
    ),
  );
});

test('Shutdown, Startup', async () => {
  await tpm.run(commands.SHUTDOWN, { type: 'clear' });
  await assert.rejects(
    tpm.run(commands.STARTUP, { type: 'clear' }),
    refusedWith('initialize'),
    'it is started already',
  );
});

test('every command was used', () => {
  const table = Object.values(commands).flatMap((value) =>
    'code' in value ? [value as commands.Command<never, never>] : [],
  );
  assert.ok(table.length > 20);
  assert.deepEqual(
    table.filter(({ code }) => !used.has(code)).map(({ name }) => name),
    [],
  );
});
