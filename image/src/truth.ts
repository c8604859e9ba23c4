/** Whether a manifest is true: what it states of an image against what the image's bytes show. */
import { isDeepStrictEqual, promisify } from 'node:util';
import { zstdDecompress } from 'node:zlib';
import { readUki } from '@enclaim/attestation/measure';
import { partsOfInitrd, partsOfManifest } from './anatomy.ts';
import { artefactOf, type Image } from './build.ts';
import { type CpioEntry, type CpioMember, encodeCpio, readMembers } from './cpio.ts';
import { ImageError } from './errors.ts';
import type { SiliconPlatform } from './firmware.ts';
import { directFiles, snpParts, tdxParts } from './measure.ts';

/** Builds of firmware, as they are launched. */
export type Firmware = Readonly<Record<SiliconPlatform, Uint8Array>>;

/**
 * Digests, reference values and files that a manifest states must be those of its image, on this firmware.
 * @throws ImageError `manifest-invalid`; DecodeError for a UKI or kernel that is none
 */
export async function refuseUntrue({ manifest, ...files }: Image, firmware: Firmware): Promise<void> {
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
  await refuseOtherFiles({ manifest, ...files });
  await refuseOtherForm(files.initrd);
}

const MAX_UNPACKED = 1 << 30;

/**
 * What a manifest does not speak of: owners, times, links, devices, padding. Every archive must be byte for byte what our
 * own writer makes of its members; the kernel would make hard links of two that share an inode.
 */
async function refuseOtherForm(initrd: Uint8Array): Promise<void> {
  const bytes = await promisify(zstdDecompress)(initrd, { maxOutputLength: MAX_UNPACKED });
  const archives: CpioEntry[][] = [[]];
  for (const member of readMembers(bytes)) {
    if (member.path === TRAILER) archives.push([]);
    else archives.at(-1)?.push(entryOf(member));
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
