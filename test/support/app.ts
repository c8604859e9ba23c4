/** The clinic example as a bundle, built once per process. */

import { join } from 'node:path';
import { type BuiltBundle, buildBundle } from '@enclaim/image';

const clinic = join(import.meta.dirname, '../../examples/clinic');
let built: Promise<BuiltBundle> | undefined;

/** The bundle of examples/clinic. */
export function clinicBundle(): Promise<BuiltBundle> {
  built ??= buildBundle({
    policyFile: join(clinic, 'policy.yaml'),
    protoDir: join(clinic, 'proto'),
    handlersEntry: join(clinic, 'handlers/index.ts'),
  });
  return built;
}
