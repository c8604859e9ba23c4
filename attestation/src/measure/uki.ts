/** Unified kernel images: what systemd-stub measures of their sections (UAPI group, "Unified Kernel Image"; stub ≥ 254). */

import { digest } from '#crypto';
import { concat, fromUtf8, utf8 } from '../bytes.ts';
import { digestText, type HashName } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import type { ImageReference } from '../references.ts';
import { extendPcr, zeroPcr } from '../tpm/pcr.ts';
import { authenticodeBytes, type PeImage, parsePe, sectionBytes, sectionNamed } from './pe.ts';

/** Sections that register 11 covers, in the stub's order, which is not that of the file. */
const MEASURED_SECTIONS = [
  '.linux',
  '.osrel',
  '.cmdline',
  '.initrd',
  '.ucode',
  '.splash',
  '.dtb',
  '.dtbauto',
  '.uname',
  '.sbat',
  '.pcrpkey',
  '.profile',
] as const;

/** Register 11 as the stub leaves it: for each section its name with a NUL, then its bytes; an empty one not at all. */
export async function sectionRegister(image: PeImage, bank: HashName): Promise<Uint8Array> {
  let value = zeroPcr(bank);
  for (const name of MEASURED_SECTIONS) {
    const section = sectionNamed(image, name);
    if (section === undefined || section.virtualSize === 0) continue;
    value = extendPcr(bank, value, await digest(bank, concat(utf8(name), Uint8Array.of(0))));
    value = extendPcr(bank, value, await digest(bank, sectionBytes(image, section)));
  }
  return value;
}

/** Authenticode digest of an image: what firmware extends into register 4 when it loads one. */
export async function authenticodeDigest(image: PeImage, algorithm: HashName): Promise<Uint8Array> {
  return digest(algorithm, authenticodeBytes(image));
}

/**
 * Reads the reference values of a UKI.
 * @throws DecodeError, also for a UKI with a section that would make the measured initrd differ from `.initrd`
 */
export async function readUki(bytes: Uint8Array): Promise<ImageReference> {
  const image = parsePe(bytes);
  for (const name of ['.osrel', '.ucode']) {
    // The stub would append its own files to the initrd, or put microcode before it: register 9 would not be ours.
    if (sectionNamed(image, name) !== undefined) throw new DecodeError('syntax', `unexpected section ${name}`, 0);
  }
  const kernel = requiredSection(image, '.linux');
  return {
    id: digestText('sha256', await digest('sha256', bytes)),
    uki: digestText('sha256', await authenticodeDigest(image, 'sha256')),
    kernel: digestText('sha256', await authenticodeDigest(parsePe(kernel), 'sha256')),
    initrd: digestText('sha256', await digest('sha256', requiredSection(image, '.initrd'))),
    sections: digestText('sha256', await sectionRegister(image, 'sha256')),
    commandLine: fromUtf8(requiredSection(image, '.cmdline')),
  };
}

function requiredSection(image: PeImage, name: string): Uint8Array {
  const section = sectionNamed(image, name);
  if (section === undefined) throw new DecodeError('syntax', `no section ${name}`, image.sectionTableAt);
  return sectionBytes(image, section);
}
