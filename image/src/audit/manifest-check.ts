/** Whether a manifest is true: what it states of an image against what the image's bytes show. */
import { isDeepStrictEqual } from 'node:util';
import { parsePe, readUki, sectionBytes, sectionNamed } from '@enclaim/attestation/measure';
import { artefactOf, type Image } from '../build/build.ts';
import { kernelOf } from '../build/kernel.ts';
import { appendSections } from '../build/uki.ts';
import { STUB_FILE, STUB_PACKAGE } from '../contents.ts';
import type { Manifest } from '../describe/manifest.ts';
import { ImageError } from '../errors.ts';
import { type CpioEntry, type CpioMember, encodeCpio, readMembers } from '../formats/cpio.ts';
import { fileAt } from '../formats/tar.ts';
import { unpackZstd } from '../formats/zstd.ts';
import { readDeb } from '../inputs/deb.ts';
import { type FetchOptions, fetchLocked, readLocked } from '../inputs/fetch.ts';
import type { SiliconPlatform } from '../inputs/firmware.ts';
import type { Lock } from '../inputs/lock.ts';
import { directFiles, snpParts, tdxParts } from '../measure.ts';
import { partsOfInitrd, partsOfManifest } from './parts.ts';

/**
 * The inputs that the image must have been made of, as the holder of the lock fetched them: the
 * lock, the firmware as it is launched, and where the other inputs are.
 */
export interface KnownInputs extends FetchOptions {
  readonly lock: Lock;
  readonly firmware: Readonly<Record<SiliconPlatform, Uint8Array>>;
}

/**
 * Refuses a manifest unless the inputs, digests, reference values, sections and files that it
 * states are those of its image.
 * @throws ImageError `manifest-invalid`; `file-missing` for a lock without stub or kernel; as
 *   `fetchLocked`, `readLocked`; DecodeError if UKI or kernel is not one
 */
export async function refuseUntrue(
  { manifest, ...files }: Image,
  { lock, firmware, ...options }: KnownInputs,
): Promise<void> {
  if (!isDeepStrictEqual(manifest.inputs, lock.inputs)) throw wrong('inputs');
  for (const name of ['uki', 'kernel', 'initrd'] as const) {
    const stated = manifest.artefacts[name];
    if (!isDeepStrictEqual(artefactOf(stated.file, files[name]), stated)) throw wrong(name);
  }
  const inside = directFiles(files.uki);
  for (const name of ['kernel', 'initrd'] as const) {
    if (!Buffer.from(inside[name]).equals(files[name])) throw wrong(`${name} of the UKI`);
  }
  const tpm = await readUki(files.uki);
  const references = {
    tpm,
    snp: await snpParts(tpm, inside, firmware.snp),
    tdx: await tdxParts(tpm, inside, firmware.tdx),
  };
  for (const name of ['tpm', 'snp', 'tdx'] as const) {
    if (!isDeepStrictEqual(manifest.references[name], references[name])) throw wrong(`references.${name}`);
  }
  if (manifest.id !== tpm.id) throw wrong('id');
  const { stub, kernel } = await lockedBoot(lock, options);
  if (!Buffer.from(kernel).equals(files.kernel)) throw wrong('kernel of its package');
  refuseOtherSections(manifest, files.uki, stub);
  await refuseOtherFiles({ manifest, ...files });
  await refuseOtherForm(manifest, files.initrd);
}

const MAX_UNPACKED = 1 << 30;

/**
 * Refuses an initrd that differs in what a manifest does not state: owners, times, links, devices,
 * padding. Every archive must be byte for byte what our own writer makes of its members. The kernel
 * would make hard links of two members that share an inode.
 */
async function refuseOtherForm({ contents }: Manifest, initrd: Uint8Array): Promise<void> {
  const bytes = await unpackZstd(initrd, MAX_UNPACKED);
  const archives: CpioEntry[][] = [[]];
  const sizes = new Map(contents.map(({ path, size }) => [path, size]));
  for (const member of readMembers(bytes)) {
    if (member.path === TRAILER) archives.push([]);
    else archives.at(-1)?.push(entryOf(member));
    if (member.data.length !== (sizes.get(member.path) ?? 0)) throw wrong(`size of ${member.path}`);
  }
  const open = archives.pop();
  if (open?.length !== 0 || !Buffer.concat(archives.map(encodeCpio)).equals(bytes)) throw wrong('form of the initrd');
}

const TRAILER = 'TRAILER!!!';

function entryOf({ path, fields, data }: CpioMember): CpioEntry {
  const mode = fields.mode & 0o7777;
  switch (fields.mode & 0o170000) {
    case 0o100000:
      return { path, type: 'file', mode, data };
    case 0o040000:
      return { path, type: 'directory', mode };
    case 0o120000:
      return { path, type: 'symlink', target: Buffer.from(data).toString('latin1') };
    default:
      throw wrong(`type of ${path}`);
  }
}

/**
 * Reads stub and kernel of the locked packages. **Trust**: whatever the build did to the cache, the
 * bytes read have the locked hash.
 */
async function lockedBoot(lock: Lock, options: FetchOptions): Promise<{ stub: Uint8Array; kernel: Uint8Array }> {
  const read = async (what: string, file: string): Promise<Uint8Array> => {
    const locked = lock.inputs.find(({ name }) => name === what);
    if (locked === undefined) throw new ImageError('file-missing', `the lock has no input ${what}`);
    return fileAt(await readDeb(await readLocked(locked, await fetchLocked([locked], options))), file).data;
  };
  const { input, file } = kernelOf(lock);
  return { stub: await read(STUB_PACKAGE, STUB_FILE), kernel: await read(input, file) };
}

/**
 * Refuses a UKI unless every section is stated, and it is byte for byte what our own writer makes
 * of the locked stub and of the sections.
 */
function refuseOtherSections({ sections }: Manifest, uki: Uint8Array, stub: Uint8Array): void {
  const image = parsePe(uki);
  const [first, ...appended] = sections.map(({ name, size, sha256 }) => {
    const found = sectionNamed(image, name);
    const bytes = found === undefined ? new Uint8Array() : sectionBytes(image, found);
    const data = name === 'stub' ? stub : bytes;
    const own = artefactOf(name, data);
    if (own.size !== size || own.sha256 !== sha256) throw wrong(`section ${name}`);
    return { name, data };
  });
  if (first?.name !== 'stub' || !Buffer.from(appendSections(stub, appended)).equals(uki))
    throw wrong('form of the UKI');
}

async function refuseOtherFiles({ manifest, initrd }: Image): Promise<void> {
  const filesOf = (parts: readonly { id: string; value: string }[]): string =>
    JSON.stringify(
      parts
        .filter(({ id }) => id.startsWith('file '))
        .map(({ id, value }) => `${id} ${value}`)
        .sort(),
    );
  const parents = new Set(manifest.contents.flatMap(({ path }) => parentsOf(path)));
  const inside = (await partsOfInitrd(initrd)).filter(({ id, value }) => {
    const isParent = parents.has(id.slice('file '.length)) && value === 'directory 0755';
    return !isParent || manifest.contents.some(({ path }) => `file ${path}` === id);
  });
  if (filesOf(inside) !== filesOf(partsOfManifest(manifest))) throw wrong('files');
}

/** Folders that an archive has because of what is in them. */
function parentsOf(path: string): string[] {
  const parts = path.split('/');
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('/'));
}

function wrong(what: string): ImageError {
  return new ImageError('manifest-invalid', `the rebuilt manifest does not describe the rebuilt image: ${what}`);
}
