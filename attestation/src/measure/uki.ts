/**
 * Unified kernel images, and the measurements that systemd-stub makes of their sections. The list
 * and its order are those of systemd 254 to 259 (src/fundamental/uki.h, UnifiedSection; UAPI.5,
 * "UKI TPM PCR Measurements").
 */

import { digest } from '#crypto';
import { concat, fromUtf8, utf8 } from '../bytes.ts';
import { digestText, type HashName } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import { extendPcr, zeroPcr } from '../tpm/pcr.ts';
import type { ImageReference } from './image-reference.ts';
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
  '.uname',
  '.sbat',
  '.pcrpkey',
  '.profile',
  '.dtbauto',
  '.hwids',
  '.efifw',
] as const;
/**
 * Sections of which a stub takes the one that fits the machine, or none. An image does not say
 * which of them is measured.
 */
const CHOSEN_BY_MACHINE: readonly string[] = ['.dtbauto', '.efifw'];
/** Sections that the stub itself is made of, or that it passes on without a measurement. */
const UNMEASURED: readonly string[] = [
  '.text',
  '.rodata',
  '.rdata',
  '.data',
  '.bss',
  '.eh_fram', // of .eh_frame: names have eight bytes
  '.reloc',
  '.rel',
  '.rela',
  '.dynamic',
  '.dynsym',
  '.dynstr',
  '.hash',
  '.sdmagic',
  '.pcrsig',
];

/**
 * Register 11 as the stub leaves it: for each section its name with a NUL, then its bytes. An empty
 * section is not measured.
 * @throws DecodeError `syntax` for a section that is not known, or one of which the machine decides
 * the measurement
 */
export async function sectionRegister(image: PeImage, bank: HashName): Promise<Uint8Array> {
  for (const { name } of image.sections) {
    if (CHOSEN_BY_MACHINE.includes(name))
      throw new DecodeError(
        'syntax',
        `what is measured of section ${name} is the machine's choice`,
        image.sectionTableAt,
      );
    if (!UNMEASURED.includes(name) && !MEASURED_SECTIONS.some((measured) => measured === name))
      throw new DecodeError('syntax', `unknown section ${name}`, image.sectionTableAt);
  }
  let value = zeroPcr(bank);
  for (const name of MEASURED_SECTIONS) {
    const section = sectionNamed(image, name);
    if (section === undefined || section.virtualSize === 0) continue;
    value = extendPcr(bank, value, await digest(bank, concat(utf8(name), Uint8Array.of(0))));
    value = extendPcr(bank, value, await digest(bank, sectionBytes(image, section)));
  }
  return value;
}

/** Authenticode digest of an image. Firmware extends it into register 4 when it loads one. */
export async function authenticodeDigest(image: PeImage, algorithm: HashName): Promise<Uint8Array> {
  return digest(algorithm, authenticodeBytes(image));
}

/**
 * Reads the reference values of a UKI.
 * @throws DecodeError, also for a UKI with a section that would make the measured initrd differ
 * from `.initrd`
 */
export async function readUki(bytes: Uint8Array): Promise<ImageReference> {
  const image = parsePe(bytes);
  for (const name of ['.osrel', '.ucode']) {
    // The stub would append its own files to the initrd, or put microcode before it. Register 9
    // would then not be the one predicted.
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
