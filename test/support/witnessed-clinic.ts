/** The clinic of examples/, under a policy that says more of its log. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type BuiltBundle, buildBundle } from '@enclaim/image';
import { volatileClinic } from './app.ts';

const clinic = join(import.meta.dirname, '../../examples/clinic');

/** Builds it with `rules` first under `evidence`; its policy is written to `folder`. */
export async function buildClinic(folder: string, rules: Readonly<Record<string, unknown>>): Promise<BuiltBundle> {
  const policy = await volatileClinic();
  const [before, after, ...more] = policy.split(/^evidence:\n/m);
  if (after === undefined || more.length > 0) throw new Error('the clinic has one block `evidence`');
  const lines = Object.entries(rules).map(([name, value]) => `  ${name}: ${JSON.stringify(value)}\n`);
  const policyFile = join(folder, 'policy.yaml');
  await writeFile(policyFile, `${before}evidence:\n${lines.join('')}${after}`);
  return buildBundle({
    policyFile,
    protoDir: join(clinic, 'proto'),
    handlersEntry: join(clinic, 'handlers/index.ts'),
  });
}
