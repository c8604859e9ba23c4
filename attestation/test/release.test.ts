/** "In the log": what a verdict says of references whose releases were published, and what must not pass for published. */

import assert from 'node:assert/strict';
import { sign } from 'node:crypto';
import { describe, test } from 'node:test';
import { FakeIdentity } from '../../test/fakes/certificates.ts';
import { undecodable } from '../../test/support/refused.ts';
import { appraiseLogged } from '../src/appraise/logged.ts';
import { toBase64, utf8 } from '../src/bytes.ts';
import { type DigestText, digestText, parseDigest, type Sha384 } from '../src/digest.ts';
import { directRtmr1Events, rtmrOf } from '../src/measure/index.ts';
import { consistencyPath, inclusionPath, leafHash, merkleRoot } from '../src/merkle.ts';
import { parseReferences, type References, type RtmrEventReference } from '../src/references/references.ts';
import {
  encodeRelease,
  parseRelease,
  type Release,
  type ReleaseLog,
  type SeenCheckpoint,
} from '../src/release/index.ts';
import {
  cosignedText,
  formatCheckpoint,
  formatLogProof,
  formatNote,
  formatNoteKey,
  noteKey,
  signatureLine,
} from '../src/tlog/index.ts';

const ORIGIN = 'example.com/releases';
const log = new FakeIdentity('log', 'ed25519');
const witness = new FakeIdentity('witness', 'ed25519');
const stranger = new FakeIdentity('stranger', 'ed25519');
const rawKey = (identity: FakeIdentity): Uint8Array => Uint8Array.from(identity.spki.subarray(-32));
const logKey = noteKey(ORIGIN, 'ed25519', rawKey(log));
const witnessKey = noteKey('example.com/w', 'cosignature/v1', rawKey(witness));

const d256 = (byte: number): DigestText<'sha256'> => digestText('sha256', new Uint8Array(32).fill(byte));
const d384 = (byte: number): DigestText<'sha384'> => digestText('sha384', new Uint8Array(48).fill(byte));
const IMAGE = {
  id: d256(1),
  uki: d256(2),
  kernel: d256(3),
  initrd: d256(4),
  sections: d256(5),
  commandLine: 'quiet',
} as const;
const RELEASES: readonly Release[] = [
  {
    enclaim: 'release/1',
    kind: 'image',
    manifest: d256(6),
    reference: IMAGE,
    kernelFile: d256(7),
    tdx: { kernel: d384(8), initrd: d384(9) },
  },
  { enclaim: 'release/1', kind: 'policy', policy: d384(10) },
  { enclaim: 'release/1', kind: 'policy', policy: d384(11) },
];
const ENTRIES = RELEASES.map(encodeRelease);

interface View {
  readonly entries?: readonly Uint8Array[];
  readonly by?: FakeIdentity;
  readonly cosigned?: boolean;
  readonly origin?: string;
}

/** The signed note of a log with these entries. */
function noteOf({ entries = ENTRIES, by = log, cosigned = false, origin = ORIGIN }: View = {}): string {
  const text = formatCheckpoint({
    origin,
    size: entries.length,
    root: merkleRoot(entries.map(leafHash)),
    extensions: [],
  });
  const time = 1_800_000_000n;
  const witnessed = signatureLine(witnessKey, sign(null, utf8(cosignedText(text, time)), witness.privateKey), time);
  return formatNote(text, [
    signatureLine(logKey, sign(null, utf8(text), by.privateKey)),
    ...(cosigned ? [witnessed] : []),
  ]);
}

/** The proof of one entry, as a client holds it. */
function proofOf(index: number, view: View & { extra?: Uint8Array } = {}): string {
  const { entries = ENTRIES } = view;
  const extra = view.extra ?? entries[index];
  const path = inclusionPath(entries.map(leafHash), index);
  return formatLogProof({ ...(extra && { extra }), index, path, checkpoint: noteOf(view) });
}

const KEYS = { key: formatNoteKey(logKey), witnesses: [] } as const;
const NEW = { seen: null, consistency: [] } as const;
const IMAGES: ReleaseLog = { ...KEYS, ...NEW, proofs: [proofOf(0)] };
const POLICY: ReleaseLog = { ...KEYS, ...NEW, proofs: [proofOf(1)] };

const REFERENCES: References = {
  enclaim: 'references/1',
  images: [IMAGE],
  policy: d384(10),
  bundles: 'any',
  owner: 'any',
  anchors: { attestationKeys: [], endorsementRoots: [], unsafeSwtpmRoots: [], certificates: [] },
};

const MOMENT = { now: Date.UTC(2026, 0, 1) };

/** Outcomes of both checks, after a round trip through a references file. */
async function outcomes(changes: Partial<References>): Promise<string[]> {
  const references = parseReferences(utf8(JSON.stringify({ ...REFERENCES, ...changes })));
  return (await appraiseLogged(references, MOMENT)).map(({ outcome }) => outcome);
}

/** What the verdict says of the policy, for a log that differs from the honest one. */
async function policyCheck(changes: Partial<ReleaseLog>): Promise<string> {
  const [, check] = await appraiseLogged({ ...REFERENCES, logged: { policy: { ...POLICY, ...changes } } }, MOMENT);
  assert.equal(check?.required, true);
  return `${check.outcome}: ${check.detail}`;
}

test('a release comes back as it was written; another form of it is none', () => {
  for (const release of RELEASES) assert.deepEqual(parseRelease(encodeRelease(release)), release);
  undecodable('canonical', () => parseRelease(utf8(JSON.stringify(RELEASES[0]))));
  undecodable('syntax', () => parseRelease(utf8('{"enclaim":"release/2","kind":"policy"}')));
  undecodable('range', () => parseRelease(new Uint8Array(70_000)));
});

test('where no log is demanded, nothing is checked, and the verdict says so', async () => {
  const checks = await appraiseLogged(REFERENCES, MOMENT);
  assert.deepEqual(
    checks.map(({ id, outcome, required }) => ({ id, outcome, required })),
    ['log.images', 'log.policy'].map((id) => ({ id, outcome: 'not run', required: false })),
  );
});

test('what was published passes, each part by its own log', async () => {
  assert.deepEqual(await outcomes({ logged: { images: IMAGES, policy: POLICY } }), ['passed', 'passed']);
  assert.deepEqual(await outcomes({ logged: { images: IMAGES } }), ['passed', 'not run']);
  assert.deepEqual(await outcomes({ logged: { policy: POLICY } }), ['not run', 'passed']);
});

test('a policy that is not the one of the proof fails', async () => {
  assert.deepEqual(await outcomes({ policy: d384(11), logged: { policy: POLICY } }), ['not run', 'failed']);
});

describe('an accepted image fails that differs from the published one in', () => {
  for (const field of ['id', 'uki', 'kernel', 'initrd', 'sections', 'commandLine'] as const) {
    test(field, async () => {
      const image = { ...IMAGE, [field]: field === 'commandLine' ? 'quiet debug' : d256(0xee) };
      assert.deepEqual(await outcomes({ images: [image], logged: { images: IMAGES } }), ['failed', 'not run']);
      const both = await outcomes({ images: [IMAGE, image], logged: { images: IMAGES } });
      assert.deepEqual(both, ['failed', 'not run'], 'one that is published does not cover another');
    });
  }
});

test('words of the network are no part of what is published, and nothing else is left out', async () => {
  const logged = { images: IMAGES };
  const of = (words: string) => outcomes({ images: [{ ...IMAGE, commandLine: `quiet${words}` }], logged });
  for (const words of [
    ' enclaim.dns=10.0.2.2',
    ' enclaim.ip=10.0.0.5/24,10.0.0.1 enclaim.ip6=auto enclaim.dns=10.0.2.2',
  ])
    assert.deepEqual(await of(words), ['passed', 'not run'], words);
  for (const words of [
    ' enclaim.dns=10.0.2.2 debug',
    ' debug enclaim.dns=10.0.2.2',
    ' enclaim.dns=1 enclaim.dns=2',
    ' enclaim.dns=10.0.2.2 enclaim.ip=off',
    ' enclaim.dns=',
    ' enclaim.dns=x"y',
    ` enclaim.policy=sha384:${'0'.repeat(96)}`,
  ])
    assert.deepEqual(await of(words), ['failed', 'not run'], words);
});

const SNP = {
  id: IMAGE.id,
  firmware: { digest: d384(1), sections: [], resetEip: 0, hashesTable: 0 },
  kernel: d256(7),
  initrd: IMAGE.initrd,
  commandLine: 'quiet',
  vcpus: [1],
  vmm: 'qemu',
  cpuSignature: 1,
  features: 1,
  floors: 'any',
  idKeys: 'any',
  authorKeys: 'any',
} as const;
const KERNEL_EVENTS: readonly RtmrEventReference[] = directRtmr1Events(parseDigest('sha384', d384(8))).map(
  ({ name, digest }) => ({
    name,
    digest: digestText('sha384', digest as Sha384),
  }),
);
const TDX = {
  id: IMAGE.id,
  mrtd: d384(1),
  rtmr0: d384(2),
  rtmr1: KERNEL_EVENTS,
  initrd: d384(9),
  commandLine: 'quiet',
  commandLineEnd: '',
  rtmr3: 'zero',
} as const;

test('launches on SEV-SNP and TDX need their kernel, initrd and command line in the log', async () => {
  const logged = { images: IMAGES };
  assert.deepEqual(await outcomes({ snp: [SNP], tdx: [TDX], logged }), ['passed', 'not run']);
  const value = digestText('sha384', rtmrOf(directRtmr1Events(parseDigest('sha384', d384(8)))));
  assert.deepEqual(await outcomes({ tdx: [{ ...TDX, rtmr1: value }], logged }), ['passed', 'not run']);
  for (const change of [{ kernel: d256(0xee) }, { initrd: d256(0xee) }, { commandLine: 'x' }, { id: d256(0xee) }]) {
    assert.deepEqual(await outcomes({ snp: [{ ...SNP, ...change }], logged }), ['failed', 'not run']);
  }
  for (const change of [
    { initrd: d384(0xee) },
    { commandLine: 'x' },
    { id: d256(0xee) },
    { rtmr1: d384(4) },
    { rtmr1: [{ name: 'kernel', digest: d384(0xee) }] },
    { rtmr1: [{ name: 'kernel', digest: 'any' as const }] },
    // Beside the published kernel, one that is not.
    { rtmr1: [{ name: 'kernel', digest: d384(0xee) }, ...KERNEL_EVENTS] },
    { rtmr1: [...KERNEL_EVENTS, { name: 'something else', digest: 'any' as const }] },
    { rtmr1: KERNEL_EVENTS.with(1, { name: 'calling EFI app', digest: 'any' as const }) },
  ]) {
    assert.deepEqual(await outcomes({ tdx: [{ ...TDX, ...change }], logged }), ['failed', 'not run']);
  }
});

test('an enclave image is in no log: no release says what its registers are', async () => {
  const nitro = [{ pcr0: d384(1), pcr1: d384(2), pcr2: d384(3) }];
  assert.deepEqual(await outcomes({ images: [], nitro, logged: { images: IMAGES } }), ['failed', 'not run']);
  assert.deepEqual(await outcomes({ nitro, logged: { images: IMAGES } }), ['failed', 'not run']);
});

describe('no proof', () => {
  const seenAt = (size: number, entries: readonly Uint8Array[] = ENTRIES): SeenCheckpoint => ({
    size,
    root: digestText('sha256', merkleRoot(entries.slice(0, size).map(leafHash))),
  });
  const consistent = (from: number, entries: readonly Uint8Array[] = ENTRIES): string[] =>
    consistencyPath(entries.map(leafHash), from).map(toBase64);
  const rewritten = [
    ENTRIES[0],
    ENTRIES[1],
    encodeRelease({ enclaim: 'release/1', kind: 'policy', policy: d384(0xee) }),
  ].filter((entry) => entry !== undefined);
  const forked = [encodeRelease({ enclaim: 'release/1', kind: 'policy', policy: d384(0xee) }), ...ENTRIES.slice(1)];

  const ATTACKS: readonly [string, Partial<ReleaseLog>, RegExp][] = [
    ['none', { proofs: [] }, /no proof/],
    ['signed by another key', { proofs: [proofOf(1, { by: stranger })] }, /does not verify/],
    ['of another log', { proofs: [proofOf(1, { origin: 'example.com/other' })] }, /checkpoint of example\.com\/other/],
    ['of another entry', { proofs: [proofOf(1, { extra: ENTRIES[2] as Uint8Array })] }, /path leads to/],
    ['for an entry that is missing', { proofs: [proofOf(1).replace(/^extra .*\n/m, '')] }, /without its entry/],
    ['for another place', { proofs: [proofOf(1).replace('index 1', 'index 0')] }, /path leads to/],
    ['cut', { proofs: [proofOf(1).slice(0, 40)] }, /without a checkpoint/],
    ['without the witness', { witnesses: [formatNoteKey(witnessKey)] }, /example\.com\/w\+\w+ did not sign/],
    ['with the witness in place of the log', { key: formatNoteKey(witnessKey) }, /is for cosignature\/v1/],
    ['to two trees', { proofs: [proofOf(1), proofOf(1, { entries: ENTRIES.slice(0, 2) })] }, /two trees of 3 and 2/],
    ['to two trees of one size', { proofs: [proofOf(1), proofOf(1, { entries: rewritten })] }, /two trees of 3 and 3/],
    [
      'from before what was seen: a rollback',
      { proofs: [proofOf(1, { entries: ENTRIES.slice(0, 2) })], seen: seenAt(3) },
      /went back from 3 to 2/,
    ],
    [
      'of a log in which an entry was exchanged since: a split view',
      { proofs: [proofOf(1, { entries: forked })], seen: seenAt(2), consistency: consistent(2, forked) },
      /another view of the log/,
    ],
    [
      'of another log of the same size',
      { proofs: [proofOf(1, { entries: rewritten })], seen: seenAt(3) },
      /another view/,
    ],
    ['without proof that the log was continued', { seen: seenAt(2) }, /another view/],
    ['with another proof of that', { seen: seenAt(2), consistency: consistent(1) }, /another view/],
    [
      'with a checkpoint seen that is made up',
      { seen: { size: 2, root: d256(0xee) }, consistency: consistent(2) },
      /view/,
    ],
  ];
  for (const [name, changes, said] of ATTACKS) {
    test(name, async () => assert.match(await policyCheck(changes), new RegExp(`^failed: .*${said.source}`)));
  }

  test('(control) the same proofs without the attack', async () => {
    const cosigned = { proofs: [proofOf(1, { cosigned: true })], witnesses: [formatNoteKey(witnessKey)] };
    assert.match(await policyCheck(cosigned), /^passed/);
    for (const size of [0, 1, 2, 3]) {
      const consistency = size === 0 ? [] : consistent(size);
      assert.match(await policyCheck({ seen: seenAt(size), consistency }), /^passed/, `seen at ${size}`);
    }
    assert.match(await policyCheck({ proofs: [proofOf(1), proofOf(2)] }), /^passed/);
    assert.match(
      await policyCheck({ proofs: [proofOf(1, { entries: rewritten })] }),
      /^passed/,
      'nothing was seen before',
    );
  });
});
