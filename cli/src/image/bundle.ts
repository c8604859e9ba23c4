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
}

export function register(program: Command): void {
  program
    .command('bundle')
    .description('make app.enclaim from a policy, .proto files and handlers; the same bytes everywhere')
    .argument('<folder>', 'folder with policy.yaml, proto/ and handlers/index.ts')
    .option('-o, --out <file>', 'where to write it', 'app.enclaim')
    .option('--policy <file>', 'another policy than that of the folder')
    .action(async (folder: string, options: BundleOptions) => {
      const app = await findApp(resolve(folder), options.policy === undefined ? {} : { policyFile: options.policy });
      const { bytes, digest, policy, match } = await buildBundle(app, (read, matched) =>
        hindrancesTo(read, matched, ONE_WORKER),
      );
      await tryHandlers(parseBundle(bytes).handlers, match);
      await writeWhole(options.out, bytes);
      for (const { id } of match.exposed) process.stderr.write(`exposed   ${id}\n`);
      for (const { method, reasons } of match.withheld) {
        process.stderr.write(`withheld  ${method}: ${reasons.map(({ message }) => message).join('; ')}\n`);
      }
      await checkApp(resolve(folder)).catch((error: Error) => {
        process.stderr.write(`not auditable: ${printable(error.message)}\n`);
      });
      console.log(`policy ${policy}\nbundle ${digest}`);
    });
}
