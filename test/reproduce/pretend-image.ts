/** The least image that an audit takes: stub and kernel of a few bytes, each in a package, three files, locked firmware. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { zstdCompress } from 'node:zlib';
import { readUki } from '../../attestation/src/measure/index.ts';
import type { KnownInputs } from '../../image/src/audit/manifest-check.ts';
import { artefactOf } from '../../image/src/build/build.ts';
import { kernelOf } from '../../image/src/build/kernel.ts';
import { appendSections, type UkiSection } from '../../image/src/build/uki.ts';
import { STUB_FILE, STUB_PACKAGE } from '../../image/src/contents.ts';
import { formatManifest, type Manifest } from '../../image/src/describe/manifest.ts';
import { type CpioEntry, encodeCpio } from '../../image/src/formats/cpio.ts';
import { projectRoot } from '../../image/src/inputs/fetch.ts';
import { FIRMWARE, fetchFirmware } from '../../image/src/inputs/firmware.ts';
import { formatLock, type Lock, parseLock } from '../../image/src/inputs/lock.ts';
import { snpParts, tdxParts } from '../../image/src/measure.ts';
import { SAMPLE } from '../../image/test/manifest.ts';
import { tinyPe } from '../../image/test/tiny-pe.ts';
import { cachedDeb, type PretendSources } from './pretend-sources.ts';

/** Files as a build writes them; the manifest as text, so that it can be any. */
export interface PretendImage {
  readonly uki: Uint8Array;
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
  readonly manifest: string;
  readonly lock: string;
}

const locked = parseLock(await readFile(join(projectRoot, 'image/lock.json'), 'utf8'));
const names = Object.values(FIRMWARE).map(({ input }) => input);
/** Firmware, and nothing else that an image of ours is made of. */
const FIRMWARE_LOCK: Lock = { version: 1, inputs: locked.inputs.filter(({ name }) => names.includes(name)) };
/** As the lock of every such image has it. */
export const firmware: KnownInputs['firmware'] = {
  snp: await fetchFirmware('snp', FIRMWARE_LOCK),
  tdx: await fetchFirmware('tdx', FIRMWARE_LOCK),
};

const ENTRIES: readonly CpioEntry[] = [
  { path: 'init', type: 'file', mode: 0o755, data: Buffer.from('first') },
  { path: 'lib/a', type: 'file', mode: 0o644, data: Buffer.from('a') },
  { path: 'lib/b', type: 'symlink', target: 'a' },
];

/** What of an image is not as it should be. */
export interface Changes {
  /** Text of the kernel in the image, of that in its package. */
  readonly kernel?: string;
  readonly lockedKernel?: string;
  /** Of the archive, of which the manifest says nothing; what `behind` its frame is, neither. */
  readonly change?: (archive: Uint8Array) => Uint8Array;
  readonly behind?: Uint8Array;
  /** The UKI, which the manifest describes as if it were made of its stub and three sections. */
  readonly assemble?: (stub: Uint8Array, sections: readonly UkiSection[]) => Uint8Array;
}

/** An image with a true manifest, but for the changes. */
export async function pretendImage(changes: Changes = {}): Promise<PretendImage> {
  const {
    kernel: text = 'kernel',
    lockedKernel = text,
    change = (archive) => archive,
    behind = new Uint8Array(),
  } = changes;
  const { assemble = appendSections } = changes;
  const [stub, kernel] = [tinyPe('stub'), tinyPe(text)];
  const initrd = Buffer.concat([await promisify(zstdCompress)(change(encodeCpio(ENTRIES))), behind]);
  const sections = [
    { name: '.cmdline', data: Buffer.from('quiet') },
    { name: '.initrd', data: initrd },
    { name: '.linux', data: kernel },
  ];
  const uki = assemble(stub, sections);
  const packages = [
    await cachedDeb(STUB_PACKAGE, STUB_FILE, stub),
    await cachedDeb(kernelOf(locked).input, kernelOf(locked).file, tinyPe(lockedKernel)),
  ];
  const lock = formatLock([...FIRMWARE_LOCK.inputs, ...packages]);
  const tpm = await readUki(uki);
  const files = { kernel, initrd };
  const sized = ({ size, sha256 }: ReturnType<typeof artefactOf>) => ({ size, sha256 });
  const origin = { from: 'test', reason: 'test' };
  const manifest: Manifest = {
    ...SAMPLE,
    id: tpm.id,
    artefacts: {
      uki: artefactOf('enclaim.efi', uki),
      kernel: artefactOf('vmlinuz', kernel),
      initrd: artefactOf('initrd.zst', initrd),
    },
    references: {
      tpm,
      snp: await snpParts(tpm, files, firmware.snp),
      tdx: await tdxParts(tpm, files, firmware.tdx),
    },
    inputs: parseLock(lock).inputs,
    sections: [{ name: 'stub', data: stub }, ...sections].map(({ name, data }) => ({
      name,
      ...sized(artefactOf('', data)),
      ...origin,
    })),
    contents: ENTRIES.map((entry) => {
      const bytes = entry.type === 'file' ? entry.data : Buffer.from(entry.type === 'symlink' ? entry.target : '');
      const mode = entry.type === 'symlink' ? 0o777 : entry.mode;
      const { path, type } = entry;
      return { path, type, mode: `0${mode.toString(8)}`, ...sized(artefactOf('', bytes)), ...origin };
    }),
  };
  return { uki, kernel, initrd, manifest: formatManifest(manifest), lock };
}

/** Sources whose build gives this image. */
export function sourcesOf({ uki, kernel, initrd, manifest, lock }: PretendImage): PretendSources {
  return {
    node: 'mkdir -p "$5" && cp prepared/* "$5"',
    files: {
      'prepared/enclaim.efi': uki,
      'prepared/vmlinuz': kernel,
      'prepared/initrd.zst': initrd,
      'prepared/manifest.json': manifest,
      'image/lock.json': lock,
    },
  };
}
