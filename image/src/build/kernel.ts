/**
 * The kernel of a lock: its package is named after its release, so that each new kernel has another
 * package name.
 */
import { KERNEL_PREFIX } from '../contents.ts';
import { ImageError } from '../errors.ts';
import type { Lock } from '../inputs/lock.ts';

/** A locked kernel. */
export interface Kernel {
  /** Such as `linux-image-6.12.95+deb12-cloud-amd64`. */
  readonly input: string;
  /** Such as `6.12.95+deb12-cloud-amd64`. */
  readonly release: string;
  /** Where it lies in its package. */
  readonly file: string;
}

/** @throws ImageError `file-missing` for a lock with no kernel, or with two */
export function kernelOf({ inputs }: Lock): Kernel {
  const [input, second] = inputs.map(({ name }) => name).filter((name) => name.startsWith(KERNEL_PREFIX));
  if (input === undefined) throw new ImageError('file-missing', `the lock has no input ${KERNEL_PREFIX}…`);
  if (second !== undefined) throw new ImageError('file-missing', `the lock has two kernels: ${input}, ${second}`);
  const release = input.slice(KERNEL_PREFIX.length);
  return { input, release, file: `boot/vmlinuz-${release}` };
}
