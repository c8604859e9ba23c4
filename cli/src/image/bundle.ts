/** `enclaim bundle`: an app as the one file that a base image runs. */
import { resolve } from 'node:path';
import { parseBundle } from '@enclaim/attestation/bundle';
import { ONE_WORKER } from '@enclaim/guest/worker-share';
import { buildBundle, checkApp, findApp, writeWhole } from '@enclaim/image';
import { hindrancesTo } from '@enclaim/runtime/hindrances';
import type { Command } from 'commander';
import { printable } from '../printable.ts';
import { tryHandlers } from './handler-trial.ts';

interface BundleOptions {
  readonly out: string;
  readonly policy?: string;
  readonly protos?: string;
  readonly handlers?: string;
  readonly json?: true;
}

/** A method that the policy does not permit, and why. */
interface Withheld {
  readonly method: string;
  readonly reasons: readonly string[];
}

export function register(program: Command): void {
  program
    .command('bundle')
    .description('make app.enclaim from a policy, .proto files and handlers; the same bytes everywhere')
    .argument('<folder>', 'folder with policy.yaml, proto/ and handlers/index.ts')
    .option('-o, --out <file>', 'where to write it', 'app.enclaim')
    .option('--policy <file>', 'another policy than that of the folder')
    .option('--json', 'digests, and what is exposed and withheld, as JSON')
    .action(async (folder: string, options: BundleOptions) => {
      const app = await findApp(resolve(folder), options.policy === undefined ? {} : { policyFile: options.policy });
      const { bytes, digest, policy, match } = await buildBundle(app, (read, matched) =>
        hindrancesTo(read, matched, ONE_WORKER),
      );
      await tryHandlers(parseBundle(bytes).handlers, match);
      await writeWhole(options.out, bytes);
      const exposed = match.exposed.map(({ id }) => id);
      const withheld = match.withheld.map(({ method, reasons }) => ({
        method,
        reasons: reasons.map(({ message }) => message),
      }));
      if (!options.json) tell(exposed, withheld);
      await checkApp(resolve(folder)).catch((error: Error) => {
        process.stderr.write(`not auditable: ${printable(error.message)}\n`);
      });
      if (options.json) console.log(JSON.stringify({ policy, bundle: digest, exposed, withheld }, null, 2));
      else console.log(`policy ${policy}\nbundle ${digest}`);
    });
}

function tell(exposed: readonly string[], withheld: readonly Withheld[]): void {
  for (const id of exposed) process.stderr.write(`exposed   ${id}\n`);
  for (const { method, reasons } of withheld) process.stderr.write(`withheld  ${method}: ${reasons.join('; ')}\n`);
}
