/**
 * Registers of a TPM after a measured boot of our image, computed without booting
 * (docs/operate/image.md, "Registers").
 */

import { utf8 } from '../bytes.ts';
import { type DigestText, labelled, parseDigest, type Sha256, sha256 } from '../digest.ts';
import { extendPcr, zeroPcr } from '../tpm/pcr.ts';
import type { ImageReference } from './image-reference.ts';

/**
 * Register of the policy. The guest extends policy and app bundle before it uses anything of
 * either.
 */
export const POLICY_REGISTER = 15;
export const BUNDLE_REGISTER = 14;

/**
 * Registers that are known exactly from image, policy and bundle. Every other register depends on
 * firmware and machine.
 */
export const PREDICTED_REGISTERS: readonly number[] = [4, 9, 11, 12, 13, BUNDLE_REGISTER, POLICY_REGISTER];

/**
 * Registers that keys of stored state are sealed to, in order: kernel, command line, initrd,
 * sections of the image, and policy. Not that of the bundle: handlers may change, because they are
 * confined.
 */
export const SEALING_REGISTERS: readonly number[] = [4, 9, 11, 12, 13, POLICY_REGISTER];

/** How a machine was started. */
export interface TpmLaunch {
  /**
   * `kernel`: by QEMU's -kernel. `disk`: by the firmware's boot manager from a disk. Only register
   * 4 differs.
   */
  readonly boot: 'kernel' | 'disk';
  /** The command line passed in place of the image's own, or null if none was. */
  readonly commandLine: string | null;
  readonly policy: DigestText<'sha384'>;
  readonly bundle: DigestText<'sha384'>;
}

/** The command line of a launch that measures its policy. */
export function launchCommandLine(image: Pick<ImageReference, 'commandLine'>, policy: DigestText<'sha384'>): string {
  return `${image.commandLine} enclaim.policy=${policy}`;
}

/**
 * The event of the policy, which the guest extends into `POLICY_REGISTER` of the SHA-256 bank.
 * @throws DecodeError on a malformed digest
 */
export function policyEvent(policy: DigestText<'sha384'>): Sha256 {
  return labelled('policy', parseDigest('sha384', policy));
}

/**
 * The event of the bundle, which the guest extends into `BUNDLE_REGISTER` of the SHA-256 bank.
 * @throws DecodeError on a malformed digest
 */
export function bundleEvent(bundle: DigestText<'sha384'>): Sha256 {
  return labelled('bundle', parseDigest('sha384', bundle));
}

/**
 * The registers of the SHA-256 bank after the launch, for `PREDICTED_REGISTERS`.
 * @throws DecodeError on a malformed digest
 */
export function predictPcrs(image: ImageReference, launch: TpmLaunch): Map<number, Uint8Array> {
  const registers = [...launchEvents(image, launch)].map(([index, events]) => [index, extendAll(events)] as const);
  return new Map([...registers, [11, parseDigest('sha256', image.sections)]]);
}

/**
 * The events that a launch extends into each of `PREDICTED_REGISTERS`, in order; none if the
 * register stays zero. Register 11 is missing, because its reference is a value: the events behind
 * it are the image's sections.
 * @throws DecodeError on a malformed digest
 */
export function launchEvents(image: ImageReference, launch: TpmLaunch): Map<number, readonly Uint8Array[]> {
  const loaded = { uki: parseDigest('sha256', image.uki), kernel: parseDigest('sha256', image.kernel) };
  const commandLine = sha256(utf16(launch.commandLine ?? image.commandLine));
  return new Map<number, readonly Uint8Array[]>([
    [4, LOAD_ORDER[launch.boot](loaded.uki, loaded.kernel)],
    [9, [commandLine, parseDigest('sha256', image.initrd)]],
    [12, launch.commandLine === null ? [] : [commandLine]],
    [13, []],
    [BUNDLE_REGISTER, [bundleEvent(launch.bundle)]],
    [POLICY_REGISTER, [policyEvent(launch.policy)]],
  ]);
}

/**
 * Register 12 after a command line was passed to the stub, or null for none. It does not depend on
 * the image.
 */
export function commandLineRegister(passed: string | null): Uint8Array {
  return passed === null ? zeroPcr('sha256') : extendAll([sha256(utf16(passed))]);
}

/** A register that only `event` was extended into. */
export function registerOf(event: Sha256): Uint8Array {
  return extendAll([event]);
}

/** The boot manager announces itself and a separator; -kernel loads the image before that. */
const CALLING_BOOT_OPTION = sha256(utf8('Calling EFI Application from Boot Option'));
const SEPARATOR = sha256(new Uint8Array(4));
const LOAD_ORDER: Readonly<Record<TpmLaunch['boot'], (uki: Uint8Array, kernel: Uint8Array) => Uint8Array[]>> = {
  kernel: (uki, kernel) => [uki, CALLING_BOOT_OPTION, SEPARATOR, kernel],
  disk: (uki, kernel) => [CALLING_BOOT_OPTION, SEPARATOR, uki, kernel],
};

function extendAll(events: readonly Uint8Array[]): Uint8Array {
  return events.reduce((value, event) => extendPcr('sha256', value, event), zeroPcr('sha256'));
}

/** UTF-16LE with a final NUL, as UEFI passes and measures a command line. */
function utf16(text: string): Uint8Array {
  const out = new Uint8Array((text.length + 1) * 2);
  const view = new DataView(out.buffer);
  for (let i = 0; i < text.length; i++) view.setUint16(i * 2, text.charCodeAt(i), true);
  return out;
}
