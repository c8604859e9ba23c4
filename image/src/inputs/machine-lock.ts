/**
 * The lock of the programs that start an image (QEMU, OVMF) and of those that only tests start:
 * groups of inputs, by Debian release.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { parseDocument } from '../document.ts';
import { ImageError } from '../errors.ts';
import { formatInputs, type LockedInput, parseLock } from './lock.ts';
import { projectRoot } from './places.ts';

/** Inputs by group: `any`, a release of Debian such as `bookworm`, `tests`. */
export type MachineLock = Readonly<Record<string, readonly LockedInput[]>>;

const schema = z.strictObject({
  version: z.literal(1),
  inputs: z.record(z.string().regex(/^[a-z]{1,32}$/), z.array(z.unknown()).max(256)),
});

/** Where the project's own lies. */
export const MACHINE_LOCK: string = join(projectRoot, 'image/machine.lock.json');

/** Reads the lock of machines. @throws ImageError `lock-invalid` */
export async function readMachineLock(path: string = MACHINE_LOCK): Promise<MachineLock> {
  const text = await readFile(path, 'utf8').catch((cause) => {
    throw new ImageError('lock-invalid', `cannot read ${path}`, { cause });
  });
  const { inputs } = parseDocument(schema, text, 'lock-invalid', 'lock of machines');
  return Object.fromEntries(
    Object.entries(inputs).map(([group, list]) => [
      group,
      parseLock(JSON.stringify({ version: 1, inputs: list })).inputs,
    ]),
  );
}

/** Writes one as {@link readMachineLock} reads it. */
export function formatMachineLock(lock: MachineLock): string {
  const groups = Object.entries(lock).map(
    ([group, inputs]) => `    ${JSON.stringify(group)}: [\n${formatInputs(inputs, '      ')}\n    ]`,
  );
  return `{\n  "version": 1,\n  "inputs": {\n${groups.join(',\n')}\n  }\n}\n`;
}

/** The Debian release of this computer, such as `bookworm`; empty elsewhere. */
export async function debianRelease(): Promise<string> {
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '');
  return /^ID=debian$/m.test(text) ? (/^VERSION_CODENAME=(\S+)$/m.exec(text)?.[1] ?? '') : '';
}
