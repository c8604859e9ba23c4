/** What the pretended launches of the silicon guest measure beside the command line, on both sides. */
import { utf8 } from '../../attestation/src/bytes.ts';
import type { DigestText } from '../../attestation/src/digest.ts';
import { digestText, type Sha256, type Sha384, sha256, sha384 } from '../../attestation/src/digest.ts';

export const KERNEL: Sha256 = sha256(utf8('kernel'));
export const INITRD: { readonly sha256: Sha256; readonly sha384: DigestText<'sha384'> } = {
  sha256: sha256(utf8('initrd')),
  sha384: digestText('sha384', sha384(utf8('initrd'))),
};
export const MRTD: Sha384 = sha384(utf8('mrtd'));
export const PROCESSOR = { vmm: 'qemu', cpuSignature: 0x800f12 } as const;
