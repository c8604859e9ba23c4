/** The base image, from the lock to a UKI with its manifest. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { readUki } from '@enclaim/attestation/measure';
import { COMMAND_LINE, STUB_FILE, STUB_PACKAGE } from '../contents.ts';
import { componentsOf } from '../describe/components.ts';
import type { Artefact, Manifest, ManifestContent, Sized } from '../describe/manifest.ts';
import { ImageError } from '../errors.ts';
import { defaultCache, type FetchOptions, fetchLocked, projectRoot } from '../inputs/fetch.ts';
import { FIRMWARE, launchFirmware, type SiliconPlatform } from '../inputs/firmware.ts';
import { type Lock, readLock } from '../inputs/lock.ts';
import { hasSources } from '../inputs/places.ts';
import { fileOf, type Inputs, unpackInputs } from '../inputs/unpack.ts';
import { snpParts, tdxParts } from '../measure.ts';
import { compileEntries } from '../programs/compile.ts';
import { ENTRIES, type Entry } from '../programs/entries.ts';
import { type Origins, originsOf } from '../programs/program-sources.ts';
import { packInitrd } from './initrd.ts';
import { kernelOf } from './kernel.ts';
import { programItems, type RootItem, systemItems } from './root.ts';
import { appendSections } from './uki.ts';

/** Phases of a build; `onPhase` is called as each begins. */
export type BuildPhase = 'fetch' | 'unpack' | 'compile' | 'pack' | 'assemble';

/** How to build. Nothing here but `root`, `lock` and `entries` can change a byte of the image. */
export interface BuildOptions extends FetchOptions {
  /** Folder with our sources and their node_modules; default: this project. */
  readonly root?: string;
  /** Default: `image/lock.json` below `root`. */
  readonly lock?: Lock;
  readonly entries?: readonly Entry[];
  /**
   * Whether packed segments may be taken from the cache; an audit packs everything anew. Default
   * true.
   */
  readonly reuse?: boolean;
  readonly onPhase?: (phase: BuildPhase) => void;
}

/** A base image in memory. */
export interface Image {
  readonly uki: Uint8Array;
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
  readonly manifest: Manifest;
}

/**
 * Builds the base image in memory.
 * @throws ImageError
 */
export async function buildImage(options: BuildOptions = {}): Promise<Image> {
  const root = resolve(options.root ?? projectRoot);
  if (options.root === undefined && !hasSources(root))
    throw new ImageError(
      'source-invalid',
      'an image is built from sources, which this package does not carry: use a checkout',
    );
  const phase = options.onPhase ?? (() => {});
  const lock = options.lock ?? (await readLock(join(root, 'image/lock.json')));
  phase('fetch');
  const files = await fetchLocked(lock.inputs, options);
  phase('unpack');
  const inputs = await unpackInputs(lock, files);
  const system = await systemItems(inputs, kernelOf(lock));
  phase('compile');
  const compiled = await compileEntries(root, options.entries ?? ENTRIES);
  const origins = await originsOf(root, compiled);
  const programs = programItems(compiled, await releaseName(root));
  phase('pack');
  const cache = options.reuse === false ? null : (options.cache ?? defaultCache());
  const initrd = await packInitrd(entriesOf(system), entriesOf(programs), cache);
  phase('assemble');
  return assemble(root, inputs, lock, initrd, [...system, ...programs], origins);
}

/** How a manifest names a file of these bytes. */
export function artefactOf(file: string, bytes: Uint8Array): Artefact {
  return { file, ...digestOf(bytes) };
}

async function assemble(
  root: string,
  inputs: Inputs,
  lock: Lock,
  initrd: Uint8Array,
  items: readonly RootItem[],
  origins: Origins,
): Promise<Image> {
  const stub = fileOf(inputs, STUB_PACKAGE, STUB_FILE);
  const { input, release, file } = kernelOf(lock);
  const kernel = fileOf(inputs, input, file);
  const commandLine = Buffer.from(COMMAND_LINE);
  const table = 'image/src/contents.ts';
  const sections = [
    { name: '.cmdline', data: commandLine, from: table, reason: 'command line of a launch that passes none' },
    { name: '.uname', data: Buffer.from(release), from: table, reason: 'release of the kernel, for people' },
    { name: '.initrd', data: initrd, from: 'the contents below', reason: 'the root file system' },
    // Last, because the stub may unpack it in place.
    { name: '.linux', data: kernel, from: `${input}: ${file}`, reason: 'the kernel' },
  ];
  const uki = appendSections(stub, sections);
  const tpm = await readUki(uki);
  const firmware = (platform: SiliconPlatform): Uint8Array =>
    launchFirmware(platform, fileOf(inputs, FIRMWARE[platform].input, FIRMWARE[platform].file));
  const references = {
    tpm,
    snp: await snpParts(tpm, { kernel, initrd }, firmware('snp')),
    tdx: await tdxParts(tpm, { kernel, initrd }, firmware('tdx')),
  };
  const origin = { from: `${STUB_PACKAGE}: ${STUB_FILE}`, reason: 'measures the sections and starts the kernel' };
  const partsOfUki = [
    { name: 'stub', ...digestOf(stub), ...origin },
    ...sections.map(({ data, name, ...rest }) => ({ name, ...digestOf(data), ...rest })),
  ];
  const contents = items.map(contentOf).sort((a, b) => (a.path < b.path ? -1 : 1));
  const manifest: Manifest = {
    enclaim: 'image/1',
    id: tpm.id,
    artefacts: {
      uki: artefactOf('enclaim.efi', uki),
      kernel: artefactOf('vmlinuz', kernel),
      initrd: artefactOf('initrd.zst', initrd),
    },
    references,
    inputs: lock.inputs,
    sections: partsOfUki,
    contents,
    components: await componentsOf(root, { locked: lock.inputs, inputs, sections: partsOfUki, contents, origins }),
    origins,
  };
  return { uki, kernel, initrd, manifest };
}

/** Such as `enclaim-0.1.0`. */
async function releaseName(root: string): Promise<string> {
  const { name, version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  return `${name}-${version}`;
}

function entriesOf(items: readonly RootItem[]): RootItem['entry'][] {
  return items.map(({ entry }) => entry);
}

function contentOf({ entry, from, reason }: RootItem): ManifestContent {
  const mode = entry.type === 'symlink' ? 0o777 : entry.mode;
  const bytes = entry.type === 'symlink' ? Buffer.from(entry.target) : entry.type === 'file' ? entry.data : null;
  const digest = bytes === null ? { size: 0, sha256: null } : digestOf(bytes);
  return { path: entry.path, type: entry.type, mode: `0${mode.toString(8)}`, ...digest, from, reason };
}

function digestOf(bytes: Uint8Array): Sized {
  return { size: bytes.length, sha256: `sha256:${createHash('sha256').update(bytes).digest('hex')}` };
}
