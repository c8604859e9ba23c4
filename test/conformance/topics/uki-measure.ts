/** Unified kernel images: sections, Authenticode digests and register 11, per hash algorithm and boot phase. */

import { toHex, utf8 } from '../../../attestation/src/bytes.ts';
import { digest } from '../../../attestation/src/crypto/node.ts';
import type { HashName } from '../../../attestation/src/digest.ts';
import { type PeImage, parsePe, sectionBytes, sectionNamed } from '../../../attestation/src/measure/pe.ts';
import { authenticodeDigest, sectionRegister } from '../../../attestation/src/measure/uki.ts';
import { extendPcr } from '../../../attestation/src/tpm/pcr.ts';
import { type Case, compare, fileOf, type Outcome } from '../topic.ts';

export const topic = 'uki-measure';

const BANKS: readonly HashName[] = ['sha1', 'sha256', 'sha384', 'sha512'];

export async function run(test: Case, dir: string, cases: readonly Case[]): Promise<Outcome> {
  const image = parsePe(await fileOf(test, 'uki', dir));
  const kernel = parsePe(sectionBytes(image, sectionNamed(image, '.linux') ?? fail('.linux')));
  const before = await byBank((bank) => sectionRegister(image, bank));
  const expected = test.expected as Record<string, unknown>;
  const values: Record<string, unknown> = {
    sections: await Promise.all(
      image.sections.map(async (section) => ({
        name: section.name,
        virtual_size: section.virtualSize,
        virtual_address: section.virtualAddress,
        raw_size: section.rawSize,
        raw_offset: section.rawOffset,
        sha256: toHex(await digest('sha256', sectionBytes(image, section))),
      })),
    ),
    authenticode: texts(await byBank((bank) => authenticodeDigest(image, bank))),
    linux_authenticode: texts(await byBank((bank) => authenticodeDigest(kernel, bank))),
    pcr11_before_any_phase: texts(before),
    pcr11_by_phase: Object.fromEntries(
      await Promise.all(
        Object.keys((expected.pcr11_by_phase as object | undefined) ?? {}).map(async (path) => [
          path,
          texts(await phases(before, path)),
        ]),
      ),
    ),
    uki_size: image.bytes.length,
    same_digest_as_unsigned: await sameAsUnsigned(image, dir, cases),
    pcr11_same_as: await imageWithRegister(before, dir, expected.pcr11_same_as, cases),
  };
  return compare(expected, Object.fromEntries(Object.keys(expected).map((key) => [key, values[key]])));
}

/** Whether the digest of a signed image is that of the image of another case, which is not signed. */
async function sameAsUnsigned(image: PeImage, dir: string, cases: readonly Case[]): Promise<boolean> {
  if (image.certificates.size === 0) return false;
  const digest = toHex(await authenticodeDigest(image, 'sha256'));
  for (const other of cases.filter(({ files }) => files.uki !== undefined)) {
    const unsigned = parsePe(await fileOf(other, 'uki', dir));
    if (unsigned.certificates.size === 0 && toHex(await authenticodeDigest(unsigned, 'sha256')) === digest) return true;
  }
  return false;
}

/** The name of the case whose image has the same register 11, where it is the named one. */
async function imageWithRegister(before: Banks, dir: string, name: unknown, cases: readonly Case[]): Promise<unknown> {
  const named = cases.find(({ id }) => id === name);
  if (named === undefined) return undefined;
  const other = parsePe(await fileOf(named, 'uki', dir));
  return toHex(await sectionRegister(other, 'sha256')) === toHex(before.sha256) ? name : undefined;
}

/** The register after the boot phases of `path`, which systemd extends from inside the image; ours does not. */
async function phases(before: Banks, path: string): Promise<Banks> {
  return byBank(async (bank) => {
    let value = before[bank];
    for (const word of path.split(':')) value = extendPcr(bank, value, await digest(bank, utf8(word)));
    return value;
  });
}

type Banks = Record<HashName, Uint8Array>;

async function byBank(of: (bank: HashName) => Promise<Uint8Array>): Promise<Banks> {
  return Object.fromEntries(await Promise.all(BANKS.map(async (bank) => [bank, await of(bank)]))) as Banks;
}

function texts(banks: Banks): Record<string, string> {
  return Object.fromEntries(Object.entries(banks).map(([bank, value]) => [bank, toHex(value)]));
}

function fail(name: string): never {
  throw new Error(`no section ${name}`);
}
