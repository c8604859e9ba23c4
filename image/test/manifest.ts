/** A manifest of made-up digests, for tests of what reads and compares manifests. */
import type { Manifest } from '../src/describe/manifest.ts';

const digest = (byte: string): `sha256:${string}` => `sha256:${byte.repeat(32)}`;
const sha384 = (byte: string): `sha384:${string}` => `sha384:${byte.repeat(48)}`;

export const SAMPLE: Manifest = {
  enclaim: 'image/1',
  id: digest('01'),
  artefacts: {
    uki: { file: 'enclaim.efi', size: 10, sha256: digest('01') },
    kernel: { file: 'vmlinuz', size: 5, sha256: digest('02') },
    initrd: { file: 'initrd.zst', size: 4, sha256: digest('03') },
  },
  references: {
    tpm: {
      id: digest('01'),
      uki: digest('04'),
      kernel: digest('05'),
      initrd: digest('03'),
      sections: digest('06'),
      commandLine: 'quiet',
    },
    snp: {
      id: digest('01'),
      firmware: {
        digest: sha384('0a'),
        sections: [
          { kind: 'secMem', gpa: 0x80_0000, size: 0x2000 },
          { kind: 'kernelHashes', gpa: 0x81_0000, size: 0x1000 },
        ],
        resetEip: 0x80_b004,
        hashesTable: 0x81_0c00,
      },
      kernel: digest('02'),
      initrd: digest('03'),
      commandLine: 'quiet',
    },
    tdx: {
      id: digest('01'),
      firmware: {
        mrtd: sha384('0b'),
        cfv: sha384('0c'),
        edition: '202505',
        secureBoot: ['SecureBoot', 'PK', 'KEK', 'db', 'dbx'].map((name) => ({ name, digest: sha384('0d') })),
        regions: [
          { kind: 'tempMem', gpa: 0x81_0000, size: 0x1_0000 },
          { kind: 'tdHob', gpa: 0x80_9000, size: 0x2000 },
        ],
      },
      kernel: sha384('0e'),
      initrd: sha384('0f'),
      commandLine: 'quiet',
    },
  },
  inputs: [
    {
      kind: 'deb',
      name: 'libc6',
      version: '2.36-9',
      suite: 'bookworm',
      path: 'pool/main/g/glibc/libc6_2.36-9_amd64.deb',
      size: 3,
      sha256: '07'.repeat(32),
    },
  ],
  sections: [{ name: '.linux', size: 5, sha256: digest('02'), from: 'kernel', reason: 'the kernel' }],
  contents: [
    { path: 'init', type: 'symlink', mode: '0777', size: 4, sha256: digest('08'), from: 'table', reason: 'start' },
    {
      path: 'lib/libc.so.6',
      type: 'file',
      mode: '0644',
      size: 3,
      sha256: digest('09'),
      from: 'libc6',
      reason: 'C library',
    },
    { path: 'proc', type: 'directory', mode: '0555', size: 0, sha256: null, from: 'table', reason: 'mount point' },
  ],
  components: [
    {
      name: 'libc6',
      version: '2.36-9',
      purl: 'pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=bookworm',
      digest: digest('07'),
      licence: 'LGPL-2.1-or-later',
      files: ['lib/libc.so.6'],
      bundledInto: [],
    },
    {
      name: 'enclaim',
      version: '0.1.0',
      purl: 'pkg:generic/enclaim@0.1.0',
      digest: null,
      licence: 'Apache-2.0',
      files: ['init', '.linux'],
      bundledInto: [],
    },
    {
      name: 'zod',
      version: '4.6.7',
      purl: 'pkg:npm/zod@4.6.7',
      digest: `sha512:${'10'.repeat(64)}`,
      licence: null,
      files: [],
      bundledInto: ['enclaim/guest.mjs'],
    },
  ],
  origins: {
    tools: { node: 'v26.10.0', esbuild: '0.28.2', zstd: 'zstd-1.5.7-level19-parts4' },
    options: { target: '"node26"' },
    packages: { zod: '4.6.7' },
    programs: { 'enclaim/guest.mjs': { 'guest/src/main.ts': digest('0a'), 'node_modules/zod/index.js': digest('0b') } },
  },
};

/** The sample of another image, the same wherever it says something twice. */
export function sampleOf(tpm: Manifest['references']['tpm']): Manifest {
  const { artefacts, references } = SAMPLE;
  const { id, initrd, commandLine } = tpm;
  return {
    ...SAMPLE,
    id,
    artefacts: {
      ...artefacts,
      uki: { ...artefacts.uki, sha256: id },
      initrd: { ...artefacts.initrd, sha256: initrd },
    },
    references: {
      tpm,
      snp: { ...references.snp, id, initrd, commandLine },
      tdx: { ...references.tdx, id, commandLine },
    },
  };
}
