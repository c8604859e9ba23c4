/** The clinic example as a bundle that needs no keeper of keys, built once per process. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BuiltBundle, buildBundle } from '@enclaim/image';

const clinic = join(import.meta.dirname, '../../examples/clinic');
let built: Promise<BuiltBundle> | undefined;

/** The bundle of examples/clinic, which keeps its cases in memory. */
export function clinicBundle(): Promise<BuiltBundle> {
  built ??= build();
  return built;
}

/** The policy of examples/clinic with its cases in memory. */
export async function volatileClinic(): Promise<string> {
  return volatileOf(await readFile(join(clinic, 'policy.yaml'), 'utf8'));
}

/** That policy's text with its cases in memory. */
export function volatileOf(sealed: string): string {
  const kept = sealed.replace(
    '    retention: P30D\n\nstorage: { epoch: PT10M }\n',
    '    storage: volatile\n    retention: P30D\n',
  );
  if (kept === sealed) throw new Error('the policy of examples/clinic is another');
  return kept;
}

async function build(): Promise<BuiltBundle> {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-clinic-'));
  try {
    const policyFile = join(folder, 'policy.yaml');
    await writeFile(policyFile, await volatileClinic());
    const handlersEntry = join(clinic, 'handlers/index.ts');
    return await buildBundle({ policyFile, protoDir: join(clinic, 'proto'), handlersEntry });
  } finally {
    await rm(folder, { recursive: true });
  }
}
