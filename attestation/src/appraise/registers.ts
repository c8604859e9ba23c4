/**
 * Appraisal of a TPM's registers: those that an image predicts, and those of firmware and machine.
 */

import type { PolicyDigest } from '@enclaim/policy-schema/admission';
import { equalBytes, toHex } from '../bytes.ts';
import type { Registers } from '../evidence/authenticated.ts';
import type { ImageReference } from '../measure/image-reference.ts';
import { launchCommandLine, PREDICTED_REGISTERS, predictPcrs, type TpmLaunch } from '../measure/index.ts';
import type { References } from '../references/references.ts';
import type { BootStatement } from '../statement.ts';
import { type Check, compared, notRun } from '../verdict/verdict.ts';

/** The references that predict registers: images, and the policy on their command line. */
export type Images = Pick<References, 'images' | 'policy'>;

/**
 * Compares the registers with the reference image that explains most of them.
 * @param boots ways in which the machine can have been started
 */
export function appraiseRegisters(
  tpm: Registers,
  statement: Pick<BootStatement, 'bundle'>,
  { images, policy }: Images,
  boots: readonly TpmLaunch['boot'][],
): Check[] {
  const candidates = images.flatMap((image) =>
    boots.map((boot) => {
      const commandLine = tpm.commandLine === null ? null : launchCommandLine(image, policy as PolicyDigest);
      const launch: TpmLaunch = { boot, commandLine, policy: policy as PolicyDigest, bundle: statement.bundle };
      const expected = predictPcrs(image, launch);
      const equal = PREDICTED_REGISTERS.filter((index) => isEqual(tpm.registers.get(index), expected.get(index)));
      return { image, launch, expected, equal };
    }),
  );
  const [first, ...others] = candidates;
  if (first === undefined) return [compared('image', false, 'the references name no image')];
  const best = others.reduce((a, b) => (b.equal.length > a.equal.length ? b : a), first);
  const { image, launch, expected, equal } = best;
  const names = `image ${image.id}, started by ${launch.boot === 'kernel' ? '-kernel' : 'disk'}`;
  return [
    ...PREDICTED_REGISTERS.map((index) => {
      const found = tpm.registers.get(index);
      const detail = equal.includes(index)
        ? `as predicted for ${names}`
        : `${hex(found)}, expected ${hex(expected.get(index))}${explain(index, image, launch, tpm.commandLine, equal)}`;
      return compared(`register.${index}`, equal.includes(index), detail);
    }),
    appraiseFirmware(tpm),
    ...[0, 1, 2, 3, 5, 6, 7, 8, 10].map((index) => notRun(`register.${index}`, 'not compared: firmware and machine')),
  ];
}

/**
 * Firmware that measures extends each of registers 0 to 7 by at least a separator (TCG PC Client
 * Platform Firmware Profile, "EV_SEPARATOR"). If one of them is zero, something else filled the
 * registers above.
 */
function appraiseFirmware({ registers }: Registers): Check {
  const untouched = [0, 1, 2, 3, 4, 5, 6, 7].filter(
    (index) => registers.get(index)?.every((byte) => byte === 0) ?? true,
  );
  const detail =
    untouched.length === 0
      ? 'measured something into each of registers 0 to 7'
      : `left registers ${untouched.join(', ')} at zero`;
  return compared('firmware', untouched.length === 0, detail);
}

/** Explains a register that differs, if the reason is known; else empty. */
function explain(
  index: number,
  image: ImageReference,
  { commandLine: expected }: TpmLaunch,
  measured: string | null,
  equal: readonly number[],
): string {
  if (index === 12 && measured !== null && expected !== null)
    return `: command line differs: expected "${expected}", measured "${measured}"`;
  if (index === 12) return ': a command line was passed where none is expected, or the other way round';
  if (index === 9 && !equal.includes(12)) return ': holds the command line too, which differs';
  if (index === 9) return ': another initrd';
  if (index === 4 && equal.includes(11)) return `: another boot manager or kernel loaded the sections of ${image.id}`;
  if (index === 11) return ': another image';
  if (index === 13) return ': system extensions or credentials were passed to the stub';
  return '';
}

function isEqual(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && equalBytes(a, b);
}

function hex(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? 'absent' : toHex(bytes);
}
