/**
 * Seeded faults: an image, bundle or machine that differs from what the sources give in one thing, and the audit must say in
 * which. Nothing else may be named as a cause, and nothing at all where nothing differs.
 */

import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { constants, zstdCompress, zstdDecompress } from 'node:zlib';
import { parseBundle } from '../attestation/src/bundle.ts';
import type { ImageReference } from '../attestation/src/measure/image-reference.ts';
import { launchCommandLine, parsePe, predictPcrs } from '../attestation/src/measure/index.ts';
import { audit, type ClaimedImage, type ClaimedMachine, type Difference } from '../image/src/audit/audit.ts';
import type { Image } from '../image/src/build/build.ts';
import { buildBundle, findApp } from '../image/src/build/bundle.ts';
import { appendSections } from '../image/src/build/uki.ts';
import { STUB_FILE, STUB_PACKAGE } from '../image/src/contents.ts';
import type { Manifest } from '../image/src/describe/manifest.ts';
import { encodeCpio } from '../image/src/formats/cpio.ts';
import { fetchLocked } from '../image/src/inputs/fetch.ts';
import { fileOf, unpackInputs } from '../image/src/inputs/unpack.ts';
import { canonicalPolicy, parsePolicy, policyDigest } from '../policy-schema/src/index.ts';
import { buildCheckout, claim, copyQuickCheckout, readImage, withChange } from './reproduce/checkout.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-faults-'));
after(() => rm(scratch, { recursive: true, force: true }));
const checkout = join(scratch, 'checkout');
const app = await findApp(join(import.meta.dirname, '../examples/clinic'));
const bundle = await buildBundle(app);

let honest: Image;
let stub: Uint8Array;
let archive: Buffer;

before(async () => {
  await copyQuickCheckout(checkout);
  await buildCheckout(checkout, join(scratch, 'honest'), { reuse: false });
  honest = await readImage(join(scratch, 'honest'));
  const lock = { version: 1, inputs: honest.manifest.inputs.filter(({ name }) => name === STUB_PACKAGE) } as const;
  stub = fileOf(await unpackInputs(lock, await fetchLocked(lock.inputs, { mirrors: [] })), STUB_PACKAGE, STUB_FILE);
  archive = await promisify(zstdDecompress)(honest.initrd);
});

/** Names of the differences that are made of no other difference. */
function causes(differences: readonly Difference[]): string[] {
  return differences
    .filter(({ because }) => because.length === 0)
    .map(({ component }) => component)
    .sort();
}

async function causesOf(image: ClaimedImage): Promise<string[]> {
  return causes(await audit({ image, bundle: null, machine: null }, { image: honest, bundle: null }));
}

test('(control) nothing differs where nothing was changed, and an audit of that says so', async () => {
  assert.deepEqual(await causesOf(claim(honest)), []);
  const again = await packed(archive);
  assert.deepEqual(
    await causesOf(claim({ ...honest, initrd: again })),
    ['artefact initrd'],
    'the same files packed otherwise are no difference of files',
  );
});

/** What is changed in the sources, and what the audit must then name. The image is built by the changed sources. */
const SOURCE_FAULTS: readonly {
  readonly name: string;
  readonly file: string;
  readonly change: (text: string) => string;
  readonly causes: readonly string[];
  /** What of the image must be named as an effect. */
  readonly effect?: string;
}[] = [
  {
    name: 'a line of the supervisor',
    file: 'guest/src/main.ts',
    change: (text) => `${text}\nconsole.log('changed');\n`,
    causes: ['source guest/src/main.ts'],
    effect: 'file enclaim/guest.mjs',
  },
  {
    name: 'a line of the runtime',
    file: 'runtime/src/admission/admission.ts',
    change: (text) => `${text}\nconsole.log('changed');\n`,
    causes: ['source runtime/src/admission/admission.ts'],
    effect: 'file enclaim/runtime.mjs',
  },
  {
    name: 'a line of the worker',
    file: 'runtime/src/worker/process/main.ts',
    change: (text) => `${text}\nconsole.log('changed');\n`,
    causes: ['source runtime/src/worker/process/main.ts'],
    effect: 'file enclaim/worker.mjs',
  },
  {
    name: 'a byte in an npm package',
    file: 'node_modules/@grpc/grpc-js/build/src/constants.js',
    change: (text) => text.replace('4 * 1024 * 1024', '5 * 1024 * 1024'),
    causes: ['source node_modules/@grpc/grpc-js/build/src/constants.js'],
    effect: 'file enclaim/runtime.mjs',
  },
  {
    name: 'another version of an npm package',
    file: 'node_modules/canonicalize/package.json',
    change: (text) => text.replace(/"version": "[^"]+"/, '"version": "5.1.99"'),
    causes: ['package canonicalize'],
  },
  {
    name: 'an environment variable that the compiler puts in',
    file: 'image/src/programs/compile.ts',
    change: (text) =>
      text.replace(
        "platform: 'node',\n",
        "platform: 'node',\n  define: { 'process.env.HOME': JSON.stringify(process.env.HOME) },\n",
      ),
    causes: ['option define'],
  },
  {
    name: 'an option of the compiler',
    file: 'image/src/programs/compile.ts',
    change: (text) => text.replace('minifyWhitespace: true', 'minifyWhitespace: false'),
    causes: ['option minifyWhitespace'],
    effect: 'file enclaim/worker.mjs',
  },
  {
    name: 'a kernel module more',
    file: 'image/src/contents.ts',
    change: (text) => text.replace("  { name: 'configfs',", "  { name: 'dummy', reason: 'x' },\n  { name: 'configfs',"),
    causes: ['file enclaim/modules.json', 'file lib/modules/dummy.ko'],
    effect: 'section .initrd',
  },
  {
    name: 'a flag less on the command line',
    file: 'image/src/contents.ts',
    change: (text) => text.replace(/\{ word: 'init_on_free=1'[^}]*\},/, ''),
    causes: ['word init_on_free=1'],
    effect: 'section .cmdline',
  },
  {
    name: "a file's mode",
    file: 'image/src/contents.ts',
    change: (text) => text.replace("path: 'proc', mode: 0o555", "path: 'proc', mode: 0o777"),
    causes: ['file proc'],
    effect: 'artefact uki',
  },
  {
    name: 'a time in the archive',
    file: 'image/src/formats/cpio.ts',
    change: (text) => text.replace('0, 0, of.links, 0, of.size', '0, 0, of.links, of.ino === 1 ? 1 : 0, of.size'),
    causes: ['attributes of dev', 'attributes of enclaim'], // the first of each archive
    effect: 'section .initrd',
  },
];

describe('the sources were another in', () => {
  for (const { name, file, change, causes: expected, effect } of SOURCE_FAULTS) {
    test(name, async () => {
      const out = join(scratch, 'faulty');
      await withChange(checkout, file, change, () => buildCheckout(checkout, out, { reuse: false }));
      const differences = await audit(
        { image: claim(await readImage(out)), bundle: null, machine: null },
        { image: honest, bundle: null },
      );
      assert.deepEqual(causes(differences), expected);
      if (effect !== undefined) {
        const found = differences.find(({ component }) => component === effect);
        assert.ok(found !== undefined && found.because.length > 0, `${effect} is an effect`);
      }
    });
  }
});

/** A claimed image of which the manifest says something else, as its builder would have made it say. */
function manifestWith(changes: Partial<Manifest>, files: Partial<ClaimedImage['files']> = {}): ClaimedImage {
  const { uki, kernel, initrd } = honest;
  return { manifest: { ...honest.manifest, ...changes }, files: { uki, kernel, initrd, ...files }, documents: {} };
}

const packed = async (bytes: Uint8Array): Promise<Buffer> =>
  promisify(zstdCompress)(bytes, { params: { [constants.ZSTD_c_compressionLevel]: 1 } });

/** The honest manifest beside an initrd that was changed afterwards, or before. */
async function initrdWith(change: (bytes: Buffer) => Uint8Array): Promise<ClaimedImage> {
  return claim({ ...honest, initrd: await packed(change(Buffer.from(archive))) });
}

/** Where members of the archive begin and end, by path. */
function membersOf(bytes: Buffer): Map<string, readonly [number, number]> {
  const members = new Map<string, readonly [number, number]>();
  const round4 = (length: number): number => Math.ceil(length / 4) * 4;
  for (let at = 0; at < bytes.length; ) {
    const field = (index: number): number =>
      Number.parseInt(bytes.toString('latin1', at + 6 + index * 8, at + 14 + index * 8), 16);
    const path = bytes.toString('latin1', at + 110, at + 109 + field(11));
    const end = at + round4(110 + field(11)) + round4(field(6));
    if (!members.has(path)) members.set(path, [at, end]);
    at = end;
  }
  return members;
}

/** Changes the n-th field of a member's header: 2 owner, 5 time. */
function withField(bytes: Buffer, path: string, index: number, value: number): Buffer {
  const [at = -1] = membersOf(bytes).get(path) ?? [];
  assert.ok(at >= 0, path);
  bytes.write(value.toString(16).padStart(8, '0'), at + 6 + index * 8, 'latin1');
  return bytes;
}

/** The UKI of other sections, or of another stub. */
function ukiWith(
  change: (sections: { name: string; data: Uint8Array }[]) => { name: string; data: Uint8Array }[],
  from = stub,
): ClaimedImage {
  const image = parsePe(honest.uki);
  const own = ['.cmdline', '.uname', '.initrd', '.linux'];
  const sections = own.map((name) => {
    const { rawOffset = 0, virtualSize = 0 } = image.sections.find((section) => section.name === name) ?? {};
    return { name, data: honest.uki.subarray(rawOffset, rawOffset + virtualSize) };
  });
  return claim({ ...honest, uki: appendSections(from, change(sections)) });
}

const FAULTS: readonly {
  readonly name: string;
  readonly make: () => Promise<ClaimedImage> | ClaimedImage;
  readonly causes: readonly string[];
}[] = [
  {
    name: 'another version of a Debian package',
    make: async () => {
      const libc = honest.manifest.contents.find(({ path }) => path.endsWith('libc.so.6'));
      const [at = 0, end = 0] = membersOf(archive).get(libc?.path ?? '') ?? [];
      const { files } = await initrdWith((bytes) => bytes.fill(0x90, end - 64, end - 60));
      const inputs = honest.manifest.inputs.map((one) =>
        one.name === 'libc6' ? { ...one, version: '2.36-99', sha256: '0b'.repeat(32) } : one,
      ) as Manifest['inputs'];
      assert.ok(at < end);
      return manifestWith({ inputs }, files);
    },
    // The bytes beside the manifest hold a library that the manifest does not speak of: both are said.
    causes: ['file lib/x86_64-linux-gnu/libc.so.6', 'input libc6'],
  },
  {
    name: 'another boot stub',
    make: () => {
      const { files } = ukiWith((sections) => sections, changedStub());
      const inputs = honest.manifest.inputs.map((one) =>
        one.name === STUB_PACKAGE ? { ...one, version: '262-1', sha256: '0b'.repeat(32) } : one,
      ) as Manifest['inputs'];
      return manifestWith({ inputs }, files);
    },
    causes: [`input ${STUB_PACKAGE}`],
  },
  {
    name: 'another Node in the build',
    make: async () => {
      const { files } = await initrdWith((bytes) => bytes);
      const { origins } = honest.manifest;
      return manifestWith({ origins: { ...origins, tools: { ...origins.tools, node: 'v26.9.0' } } }, files);
    },
    causes: ['tool node'],
  },
  {
    name: 'a library less',
    make: () =>
      initrdWith((bytes) => {
        const [at = 0, end = 0] = membersOf(bytes).get('lib/x86_64-linux-gnu/libatomic.so.1') ?? [];
        return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
      }),
    causes: ['file lib/x86_64-linux-gnu/libatomic.so.1'],
  },
  {
    name: 'a file more, in an archive after the others',
    make: () =>
      initrdWith((bytes) =>
        Buffer.concat([bytes, encodeCpio([{ path: 'extra.mjs', type: 'file', mode: 0o644, data: Buffer.from('x') }])]),
      ),
    causes: ['file extra.mjs'],
  },
  {
    name: 'a file a second time, which the kernel lets win',
    make: () =>
      initrdWith((bytes) => Buffer.concat([bytes, encodeCpio([{ path: 'init', type: 'symlink', target: 'tmp/x' }])])),
    causes: ['attributes of init', 'file init'],
  },
  { name: 'a time', make: () => initrdWith((bytes) => withField(bytes, 'init', 5, 1)), causes: ['attributes of init'] },
  {
    name: 'an owner',
    make: () => initrdWith((bytes) => withField(bytes, 'init', 2, 1000)),
    causes: ['attributes of init'],
  },
  {
    name: 'the order of files',
    make: () =>
      initrdWith((bytes) => {
        const members = membersOf(bytes);
        const [[a = 0, b = 0] = [], [c = 0, d = 0] = []] = [members.get('dev'), members.get('lib')];
        assert.equal(b, c, 'neighbours');
        return Buffer.concat([bytes.subarray(0, a), bytes.subarray(c, d), bytes.subarray(a, b), bytes.subarray(d)]);
      }),
    causes: ['order of files'],
  },
  {
    name: 'an initrd that is none',
    make: () => claim({ ...honest, initrd: Buffer.from('gzip') }),
    causes: ['form of the initrd'],
  },
  {
    name: 'an archive that is cut',
    make: () => initrdWith((bytes) => bytes.subarray(0, bytes.length - 100_000)),
    causes: ['form of the initrd'],
  },
  {
    name: 'an os-release, which makes the stub add a file to the initrd',
    make: () => ukiWith((sections) => [{ name: '.osrel', data: Buffer.from('ID=x') }, ...sections]),
    causes: ['section .osrel'],
  },
  {
    name: 'a section under another name',
    make: () =>
      ukiWith((sections) => sections.map((one) => (one.name === '.uname' ? { ...one, name: '.splash' } : one))),
    causes: ['section .splash', 'section .uname'],
  },
  {
    name: 'the order of sections',
    make: () => ukiWith((sections) => sections.toReversed()),
    causes: ['order of sections'],
  },
  {
    name: 'a time in the header',
    make: () => {
      const uki = Buffer.from(honest.uki);
      uki.writeUInt32LE(1_700_000_000, parsePe(honest.uki).timestampAt);
      return claim({ ...honest, uki });
    },
    causes: ['header time of the UKI'],
  },
  {
    name: 'bytes after the last section',
    make: () => claim({ ...honest, uki: Buffer.concat([honest.uki, Buffer.alloc(8, 0xcc)]) }),
    causes: ['bytes after the last section'],
  },
  {
    name: 'another kernel file beside the manifest',
    make: () => claim({ ...honest, kernel: Buffer.from(honest.kernel).fill(1, honest.kernel.length - 4) }),
    causes: ['artefact kernel'],
  },
  {
    name: 'no kernel beside the manifest',
    make: () => manifestWith({}, { kernel: null }),
    causes: ['artefact kernel'],
  },
  {
    name: 'a reference value that is not that of the image',
    make: () =>
      manifestWith({
        references: {
          ...honest.manifest.references,
          tpm: { ...honest.manifest.references.tpm, sections: honest.manifest.id },
        },
      }),
    causes: ['reference tpm.sections'],
  },
];

/** The stub with a byte of its code changed. */
function changedStub(): Uint8Array {
  const { sections } = parsePe(stub);
  const text = sections.find(({ name }) => name === '.text');
  return Buffer.from(stub).fill(0x90, text?.rawOffset, (text?.rawOffset ?? 0) + 1);
}

describe('the image was another in', () => {
  for (const { name, make, causes: expected } of FAULTS) {
    test(name, async () => assert.deepEqual(await causesOf(await make()), expected));
  }
});

describe('the app was another in', () => {
  const copy = join(scratch, 'app');
  const FIELDS: readonly [string, string, (text: string) => string, readonly string[]][] = [
    [
      'a field of the policy',
      'policy.yaml',
      (text) => text.replace(/retention: P\d+D/, 'retention: P999D'),
      ['policy /collections/cases/retention'],
    ],
    [
      'a message of a .proto file',
      'proto/clinic/v1/fhir.proto',
      (text) => `${text}\nmessage Extra {}\n`,
      ['proto clinic/v1/fhir.proto'],
    ],
    ['a line of a handler', 'handlers/index.ts', (text) => `${text}\nconsole.log('changed');\n`, ['handlers']],
  ];
  for (const [name, file, change, expected] of FIELDS) {
    test(name, async () => {
      await cp(join(import.meta.dirname, '../examples/clinic'), copy, { recursive: true });
      const other = await withChange(copy, file, change, async () => buildBundle(await findApp(copy)));
      const found = await audit(
        { image: null, bundle: other.bytes, machine: null },
        { image: honest, bundle: bundle.bytes },
      );
      assert.deepEqual(causes(found), expected);
    });
  }
});

describe('the machine was another in', () => {
  const { policy } = bundle;
  const policyBytes = parseBundle(bundle.bytes).policy;
  const machineOf = (
    changes: { reference?: Partial<ImageReference>; bundle?: `sha384:${string}`; commandLine?: string } = {},
  ): ClaimedMachine => {
    const reference = honest.manifest.references.tpm;
    const commandLine = changes.commandLine ?? launchCommandLine(reference, policy);
    const launch = { policy, bundle: changes.bundle ?? bundle.digest, commandLine };
    const registers = predictPcrs({ ...reference, ...changes.reference }, { ...launch, boot: 'disk' });
    return { registers, launch, policyBytes };
  };
  const other = `sha256:${'0b'.repeat(32)}` as const;
  const MACHINES: readonly [string, () => ClaimedMachine, readonly string[]][] = [
    ['(control) nothing', () => machineOf(), []],
    ['a command line that the host passed', () => machineOf({ commandLine: 'quiet init=/x' }), ['command line']],
    ['its initrd', () => machineOf({ reference: { initrd: other } }), ['register 9']],
    ['its kernel', () => machineOf({ reference: { kernel: other } }), ['register 4']],
    ['its sections', () => machineOf({ reference: { sections: other } }), ['register 11']],
    ['its app bundle', () => machineOf({ bundle: `sha384:${'0b'.repeat(48)}` }), ['bundle']],
    [
      'a register that the evidence leaves out',
      () => ({ ...machineOf(), registers: new Map([...machineOf().registers].filter(([index]) => index !== 13)) }),
      ['register 13'],
    ],
  ];
  for (const [name, make, expected] of MACHINES) {
    test(name, async () => {
      const found = await audit(
        { image: null, bundle: null, machine: make() },
        { image: honest, bundle: bundle.bytes },
      );
      assert.deepEqual(causes(found), expected);
    });
  }

  test('its policy, in one field', async () => {
    const text = await readFile(app.policyFile, 'utf8');
    const policyOfMachine = parsePolicy(text.replace('retention: P30D', 'retention: P999D'), { file: 'policy.yaml' });
    const launch = { policy: policyDigest(policyOfMachine), bundle: bundle.digest, commandLine: null };
    const registers = predictPcrs(honest.manifest.references.tpm, { ...launch, boot: 'kernel' });
    const machine = { registers, launch, policyBytes: canonicalPolicy(policyOfMachine) };
    const found = await audit({ image: null, bundle: null, machine }, { image: honest, bundle: bundle.bytes });
    assert.deepEqual(causes(found), ['policy /collections/cases/retention']);
  });
});
