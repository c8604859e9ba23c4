/** References that travel as CoRIM: what was signed comes back whole, and nothing else does; at the command line, too. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { sign } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { parseReferences, type References } from '@enclaim/attestation';
import { utf8 } from '@enclaim/attestation/bytes';
import { type CborValue, encodeCbor, encodeSign1 } from '@enclaim/attestation/cbor';
import { signDeployment } from '@enclaim/attestation/deployment';
import { REFERENCES_PROFILE, signReferences, verifyCorim, verifyReferences } from '@enclaim/attestation/rats';
import { EPOCH, FakeIdentity } from './fakes/certificates.ts';
import { refused, refusedSomewhere } from './support/refused.ts';

const run = promisify(execFile);
const cli = join(import.meta.dirname, '../cli/src/main.ts');
const signer = new FakeIdentity('signer', 'ed25519');
const stranger = new FakeIdentity('stranger', 'ed25519');
const signs = async (message: Uint8Array): Promise<Uint8Array> => sign(null, message, signer.privateKey);
const validity = { from: EPOCH, until: EPOCH + 86_400_000 };
const now = EPOCH + 1000;
const EDDSA = -8;

const d256 = (byte: string): `sha256:${string}` => `sha256:${byte.repeat(64)}`;
const d384 = (byte: string): `sha384:${string}` => `sha384:${byte.repeat(96)}`;
const floors = { Milan: { bootloader: 4, tee: 0, snp: 24, microcode: 219 } };
/** One of everything that references can say. */
const FULL: References = {
  enclaim: 'references/1',
  images: ['1', '2'].map((byte) => ({
    id: d256(byte),
    uki: d256('3'),
    kernel: d256('4'),
    initrd: d256('5'),
    sections: d256('6'),
    commandLine: 'quiet panic=-1 a/b=sha256:ü',
  })),
  policy: d384('7'),
  bundles: [d384('8'), d384('9')],
  rollout: [
    {
      policy: d384('0'),
      bundles: 'any',
      notBefore: '2026-01-01T00:00:00.000Z',
      notAfter: '2026-02-01T00:00:00.000Z',
    },
  ],
  owner: `ed25519:${'A'.repeat(43)}`,
  anchors: {
    attestationKeys: [],
    endorsementRoots: [d256('a')],
    unsafeSwtpmRoots: [],
    certificates: ['AAAA'],
    attestationRoots: [d256('b')],
    vendors: ['amd', 'google'],
    unsafeSiliconRoots: [d256('c')],
  },
  deployments: [
    signDeployment(
      {
        policy: d384('7'),
        devices: [`ak:${d256('d')}`, 'gce:1/2'],
        notBefore: '2026-01-01T00:00:00.000Z',
        notAfter: '2027-01-01T00:00:00.000Z',
      },
      (message) => sign(null, message, signer.privateKey),
    ),
  ],
  snp: [
    {
      id: d256('e'),
      firmware: {
        digest: d384('f'),
        sections: [{ kind: 'secMem', gpa: 4096, size: 8192 }],
        resetEip: 0xffff_fff0,
        hashesTable: null,
      },
      kernel: d256('1'),
      initrd: d256('2'),
      commandLine: 'quiet',
      vcpus: [1, 2],
      vmm: 'qemu',
      cpuSignature: 0x800f12,
      features: 1,
      floors: 'any',
      idKeys: 'any',
      authorKeys: [d384('0')],
      reportVersions: [5, 6],
      platformBits: [8],
    },
  ],
  tdx: [
    {
      id: d256('3'),
      mrtd: d384('1'),
      rtmr0: [{ name: 'TD HOB', digest: 'any' }],
      rtmr1: d384('2'),
      initrd: d384('3'),
      commandLine: 'quiet',
      commandLineEnd: '',
      rtmr3: 'zero',
      mrOwner: d384('4'),
      mrSeams: [d384('5')],
      serviceTds: [d384('6')],
      tcbGraces: [{ status: 'OutOfDate', until: '2027-01-01T00:00:00.000Z' }],
    },
  ],
  azureTdx: { measurements: [], mrConfigId: d384('7'), mrOwnerConfig: d384('8') },
  azureSnp: {
    measurements: [],
    signers: [{ idKey: d384('1'), familyId: '0'.repeat(32), imageId: '1'.repeat(32), minimumSvn: 0 }],
    floors,
  },
  gcp: {
    snp: { firmware: { endorsedSince: '2026-01-01T00:00:00.000Z' }, floors: {} },
    tdx: { firmware: { measurements: [] }, serviceTds: [d384('9')] },
  },
  nitro: [],
};
const references = parseReferences(utf8(JSON.stringify(FULL)));

const sealed = (): Promise<Uint8Array> => signReferences(references, 'Example', validity, EDDSA, signs);
const read = (bytes: Uint8Array, by = signer, at = now): Promise<References> =>
  verifyReferences(bytes, by.spki, EDDSA, { now: at });

test('what was signed comes back whole; for another reader of CoRIM the digests are digests', async () => {
  const bytes = await sealed();
  const [notBefore, notAfter] = [validity.from, validity.until].map((time) => new Date(time).toISOString());
  assert.deepEqual(await read(bytes), { ...references, validity: { notBefore, notAfter } });
  assert.deepEqual(await sealed(), bytes, 'the same references are the same bytes');
  const { comids } = await verifyCorim(bytes, signer.spki, EDDSA, { now });
  const image = comids[0]?.references.find(({ environment }) => environment.class?.get(2) === 'images');
  const kernel = image?.measurements.find(({ key }) => key === '0/kernel');
  assert.deepEqual(kernel?.values.get(2), [[1, new Uint8Array(32).fill(0x44)]]);
});

test('signed by somebody else, out of date, or changed in any byte it is refused', async () => {
  const bytes = await sealed();
  await refused('signature', () => read(bytes, stranger));
  await refused('validity', () => read(bytes, signer, validity.until + 1));
  await refused('validity', () => read(bytes, signer, validity.from - 1));
  for (let at = 0; at < bytes.length; at += 7) {
    const changed = Uint8Array.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
    await refusedSomewhere(() => read(changed), `byte ${at}`);
  }
});

describe('signed, but not references', () => {
  type Leaf = readonly [key: CborValue | undefined, values: readonly (readonly [number, CborValue])[]];
  const triple = (section: CborValue, leaves: readonly Leaf[], vendor: CborValue = 'enclaim'): CborValue => [
    new Map([
      [
        0,
        new Map([
          [1, vendor],
          [2, section],
        ]),
      ],
    ]),
    leaves.map(
      ([key, values]) =>
        new Map<number, CborValue>([...(key === undefined ? [] : [[0, key] as const]), [1, new Map(values)]]),
    ),
  ];
  /** What JSON says, written by hand: the least that is references. */
  const LEAST: readonly CborValue[] = [
    triple('enclaim', [[undefined, [[11, 'references/1']]]]),
    triple('images', [[undefined, [[4, { tag: 560, value: utf8('[]') }]]]]),
    triple('policy', [[undefined, [[2, [[7, new Uint8Array(48)]]]]]]),
    triple('bundles', [[undefined, [[11, 'any']]]]),
    triple('owner', [[undefined, [[11, 'any']]]]),
    triple(
      'anchors',
      ['attestationKeys', 'endorsementRoots', 'unsafeSwtpmRoots', 'certificates'].map(
        (name): Leaf => [name, [[4, { tag: 560, value: utf8('[]') }]]],
      ),
    ),
  ];
  const HELD: CborValue = new Map(
    [validity.from, validity.until].map((time, at) => [at, { tag: 1, value: time / 1000 }]),
  );
  const wrap = (
    triples: readonly CborValue[],
    { profile = REFERENCES_PROFILE, valid = HELD as CborValue | null } = {},
  ): Promise<Uint8Array> => {
    const comid = encodeCbor(
      new Map<number, CborValue>([
        [1, new Map([[0, 'id']])],
        [4, new Map([[0, triples]])],
      ]),
    );
    const corim = encodeCbor({
      tag: 501,
      value: new Map<number, CborValue>([
        [0, 'id'],
        [1, [{ tag: 506, value: comid }]],
        [3, { tag: 32, value: profile }],
      ]),
    });
    const said: (readonly [number, CborValue])[] = [[0, new Map([[0, 'Example']])]];
    if (valid !== null) said.push([1, valid]);
    const meta = encodeCbor(new Map(said));
    const headers = new Map<number, CborValue>([
      [3, 'application/rim+cbor'],
      [8, meta],
    ]);
    return encodeSign1(EDDSA, corim, signs, headers);
  };
  const more = (...triples: CborValue[]): Promise<Uint8Array> => wrap([...LEAST, ...triples]);

  test('the least that is references is read', async () => {
    const found = await read(await wrap(LEAST));
    assert.deepEqual([found.images, found.bundles, found.policy], [[], 'any', `sha384:${'00'.repeat(48)}`]);
  });

  test('without a validity they would be good for ever: refused at any time', async () => {
    const endless = await wrap(LEAST, { valid: null });
    await verifyCorim(endless, signer.spki, EDDSA, { now });
    for (const at of [now, Date.UTC(2100, 0, 1)]) await refused('validity', () => read(endless, signer, at));
    const late = await wrap(LEAST, { valid: new Map([[1, { tag: 1, value: validity.until / 1000 }]]) });
    await read(late);
    await refused('validity', () => read(late, signer, validity.until + 1));
  });

  const name = (text: string): Leaf => [undefined, [[11, text]]];
  const bad: [string, () => Promise<Uint8Array>][] = [
    ['of another profile', () => wrap(LEAST, { profile: 'urn:enclaim:corim:launch:1' })],
    ['a value twice', () => more(triple('owner', [name('any')]))],
    ['a value below a value', () => more(triple('owner', [['key', [[11, 'any']]]]))],
    ['a value in place of values', () => more(triple('anchors', [name('any')]))],
    ['another module', () => more(triple('tdx', [name('x')], 'somebody'))],
    ['a section without a name', () => more(triple(7, [name('x')]))],
    ['a key that is a number', () => more(triple('tdx', [[7, [[11, 'x']]]]))],
    [
      'two values in one',
      () =>
        more(
          triple('tdx', [
            [
              undefined,
              [
                [11, 'x'],
                [15, 1],
              ],
            ],
          ]),
        ),
    ],
    ['a value of another kind', () => more(triple('tdx', [[undefined, [[1, 7]]]]))],
    [
      'two digests of one thing',
      () =>
        more(
          triple('tdx', [
            [
              undefined,
              [
                [
                  2,
                  [
                    [1, new Uint8Array(32)],
                    [7, new Uint8Array(48)],
                  ],
                ],
              ],
            ],
          ]),
        ),
    ],
    ['a digest of another algorithm', () => more(triple('tdx', [[undefined, [[2, [[8, new Uint8Array(64)]]]]]]))],
    ['JSON as a raw value', () => more(triple('tdx', [[undefined, [[4, { tag: 560, value: utf8('[{}]') }]]]]))],
    ['a list with a gap', () => more(triple('nitro', [['1/pcr0', [[2, [[7, new Uint8Array(48)]]]]]]))],
    ['a value too far down', () => more(triple('tdx', [['0/1/2/3/4/5/6/7/8/9', [[11, 'x']]]]))],
  ];
  for (const [what, make] of bad) {
    test(what, async () => {
      const bytes = await make();
      await refused('format', () => read(bytes));
    });
  }

  test('a section that references do not know, or lack', async () => {
    const unknown = await more(triple('override', [name('x')]));
    await assert.rejects(() => read(unknown), { name: 'AppraisalError', code: 'references' });
    const proto = await more(triple('__proto__', [['policy', [[11, 'x']]]]));
    await assert.rejects(() => read(proto), { name: 'AppraisalError', code: 'references' });
    const lacking = await wrap(LEAST.slice(1));
    await assert.rejects(() => read(lacking), { name: 'AppraisalError', code: 'references' });
  });
});

describe('enclaim corim', () => {
  let folder: string;
  const at = (file: string): string => join(folder, file);
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'enclaim-corim-'));
    await writeFile(at('references.json'), JSON.stringify(references));
    await writeFile(at('key.pem'), signer.privateKey.export({ format: 'pem', type: 'pkcs8' }));
    await writeFile(at('public.pem'), signer.publicKey.export({ format: 'pem', type: 'spki' }));
    await writeFile(at('stranger.pem'), stranger.publicKey.export({ format: 'pem', type: 'spki' }));
  });
  after(() => rm(folder, { recursive: true }));
  const corim = (...args: string[]): Promise<unknown> => run(process.execPath, [cli, 'corim', ...args]);

  test('signs and reads', async () => {
    const until = ['--not-before', '2026-01-01T00:00:00Z', '--not-after', '2027-01-01T00:00:00Z'];
    await corim(
      'sign',
      at('references.json'),
      '--key',
      at('key.pem'),
      '--signer',
      'Example',
      ...until,
      '-o',
      at('out.corim'),
    );
    const asOf = ['--as-of', '2026-06-01T00:00:00Z', '-o', at('back.json')];
    await corim('read', at('out.corim'), '--key', at('public.pem'), ...asOf);
    const period = { notBefore: '2026-01-01T00:00:00.000Z', notAfter: '2027-01-01T00:00:00.000Z' };
    assert.deepEqual(parseReferences(await readFile(at('back.json'))), { ...references, validity: period });
    await rm(at('back.json'));
    await assert.rejects(corim('read', at('out.corim'), '--key', at('stranger.pem'), ...asOf), /signature/);
    await assert.rejects(corim('read', at('out.corim'), '--key', at('key.pem'), ...asOf), /not a PUBLIC KEY/);
    const late = ['--as-of', '2028-01-01T00:00:00Z', '-o', at('back.json')];
    await assert.rejects(corim('read', at('out.corim'), '--key', at('public.pem'), ...late), /valid from/);
    await assert.rejects(readFile(at('back.json')), { code: 'ENOENT' });
  });
});
