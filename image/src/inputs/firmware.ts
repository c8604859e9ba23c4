/**
 * Firmware of launches on confidential processors: Debian's builds, as an image of ours starts on
 * them.
 */
import { parseFirmware, parseTdvf, variableRange } from '@enclaim/attestation/measure';
import { ImageError } from '../errors.ts';
import { fileAt } from '../formats/tar.ts';
import { readDeb } from './deb.ts';
import { type FetchOptions, fetchLocked, readLocked } from './fetch.ts';
import type { Lock } from './lock.ts';

/** Platforms whose processor measures the launch. */
export type SiliconPlatform = 'snp' | 'tdx';

/** Where each build is, as the lock names its package. */
export const FIRMWARE: Readonly<Record<SiliconPlatform, { readonly input: string; readonly file: string }>> = {
  snp: { input: 'ovmf-amdsev', file: 'usr/share/ovmf/OVMF.amdsev.fd' },
  tdx: { input: 'ovmf-inteltdx', file: 'usr/share/ovmf/OVMF.inteltdx.ms.fd' },
};

/** The value of flash bytes that were not written. */
const ERASED = 0xff;

/**
 * A build as it is launched. The build for TDX comes with Secure Boot on and Microsoft's keys,
 * under which it refuses our kernel and our UKI. Therefore its variables are erased. MRTD does not
 * cover them, and RTMR0 shows that they are erased.
 * @throws DecodeError for a build without a variable store
 */
export function launchFirmware(platform: SiliconPlatform, build: Uint8Array): Uint8Array {
  if (platform === 'snp') return build;
  const volume = parseTdvf(parseFirmware(build)).find(({ kind }) => kind === 'cfv');
  const [start, size] = [volume?.dataOffset ?? 0, volume?.rawSize ?? 0];
  const [from, to] = variableRange(build.subarray(start, start + size));
  return Uint8Array.from(build).fill(ERASED, start + from, start + to);
}

/**
 * The locked build for a platform, as it is launched.
 * @throws ImageError as `fetchLocked`, `readLocked` and `readDeb`; `file-missing` if the lock has
 *   none
 */
export async function fetchFirmware(
  platform: SiliconPlatform,
  { inputs }: Lock,
  options: FetchOptions = {},
): Promise<Uint8Array> {
  const { input, file } = FIRMWARE[platform];
  const locked = inputs.find(({ name }) => name === input);
  if (locked === undefined) throw new ImageError('file-missing', `the lock has no input ${input}`);
  const build = await readLocked(locked, await fetchLocked([locked], options));
  return launchFirmware(platform, fileAt(await readDeb(build), file).data);
}
