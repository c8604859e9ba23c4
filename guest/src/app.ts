/** The app bundle: read as bytes, held against the launch, extended, and only then taken apart. */

import { open } from 'node:fs/promises';
import {
  BUNDLE_HEADER,
  type Bundle,
  bundleDigest,
  bundleLength,
  parseBundle,
  policyFrame,
} from '@enclaim/attestation/bundle';
import { DecodeError } from '@enclaim/attestation/errors';
import { digestOfCanonical, type PolicyDigest } from '@enclaim/policy-schema/admission';
import type { Disk } from './linux/index.ts';
import type { GuestPlatform } from './platform/platform.ts';
import { Refusal } from './refusal.ts';

/** A bundle that was measured. */
export interface MeasuredApp {
  readonly bundle: Bundle;
  readonly digest: `sha384:${string}`;
  readonly policyDigest: PolicyDigest;
}

/**
 * Reads, checks and measures the bundle. Nothing of it has been used before it is measured.
 * @param launched the digest on the measured command line, or null if it has none
 * @throws Refusal `bundle`, `policy`, `platform`
 */
export async function measureApp(
  disk: Disk,
  launched: PolicyDigest | null,
  platform: Pick<GuestPlatform, 'measure'>,
): Promise<MeasuredApp> {
  const bytes = await readBundle(disk);
  const policy = decoding(() => policyFrame(bytes));
  const policyDigest = decoding(() => digestOfCanonical(policy));
  // layer: digest on the command line
  if (launched !== null && policyDigest !== launched) {
    throw new Refusal('policy', `the bundle's policy is ${policyDigest}, launch-measured is ${launched}`);
  }
  const digest = bundleDigest(bytes);
  await platform.measure({ policy, policyDigest, digest });
  return { bundle: decoding(() => parseBundle(bytes)), digest, policyDigest };
}

/**
 * Reads the whole bundle, once. **Trust**: the disk is the host's, and may say something else at
 * the next reading.
 */
async function readBundle({ path, size }: Disk): Promise<Uint8Array> {
  const handle = await open(path, 'r');
  try {
    const header = await readExactly(handle, BUNDLE_HEADER, 0, size);
    const length = decoding(() => bundleLength(header));
    const rest = await readExactly(handle, length - header.length, header.length, size);
    return Buffer.concat([header, rest]);
  } finally {
    await handle.close();
  }
}

async function readExactly(
  handle: Awaited<ReturnType<typeof open>>,
  length: number,
  at: number,
  size: number,
): Promise<Buffer> {
  // layer: size of the disk
  if (at + length > size) throw new Refusal('bundle', `the bundle has ${at + length} bytes, its disk ${size}`);
  const buffer = Buffer.alloc(length);
  for (let held = 0; held < length; ) {
    const { bytesRead } = await handle.read(buffer, held, length - held, at + held);
    // layer: end of the disk
    if (bytesRead === 0) throw new Refusal('bundle', `the bundle's disk ends at byte ${at + held}`);
    held += bytesRead;
  }
  return buffer;
}

function decoding<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new Refusal('bundle', `the bundle does not parse: ${cause.message}`, { cause });
  }
}
