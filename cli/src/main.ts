#!/usr/bin/env node
/** The `enclaim` command. */

import { routeFetches } from '@enclaim/client';
import { Command, CommanderError } from 'commander';
import packageJson from '../package.json' with { type: 'json' };
import { register as registerCall } from './call.ts';
import { register as registerCorim } from './corim.ts';
import { register as registerDeployment } from './deployment.ts';
import { register as registerDev } from './dev/dev.ts';
import { EXIT } from './exit-status.ts';
import { register as registerGen } from './gen.ts';
import { register as registerAudit } from './image/audit.ts';
import { register as registerBundle } from './image/bundle.ts';
import { register as registerImage } from './image/image.ts';
import { register as registerKey } from './key.ts';
import { register as registerCheck } from './policy/check.ts';
import { register as registerDiff } from './policy/diff.ts';
import { register as registerInit } from './policy/init.ts';
import { register as registerPolicy } from './policy/policy.ts';
import { register as registerTest } from './policy/test.ts';
import { register as registerProxy } from './proxy.ts';
import { register as registerReferences } from './references.ts';
import { register as registerRelease } from './release.ts';
import { report } from './report.ts';
import { register as registerRun } from './run.ts';
import { register as registerStatement } from './statement.ts';
import { register as registerVerify } from './verify.ts';

const program = new Command('enclaim')
  .description('Policies that a running system cannot exceed, and the evidence for it.')
  .version(packageJson.version)
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'enclaim: ')) });

for (const register of [
  registerInit,
  registerGen,
  registerCheck,
  registerDiff,
  registerTest,
  registerPolicy,
  registerKey,
  registerImage,
  registerBundle,
  registerDev,
  registerRun,
  registerReferences,
  registerRelease,
  registerCorim,
  registerDeployment,
  registerCall,
  registerProxy,
  registerVerify,
  registerAudit,
  registerStatement,
]) {
  register(program);
}

/**
 * Fails a command whose output cannot be written, because it has not done what it was asked for. A
 * reader that closes the pipe has all that it wants.
 */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED') return;
  process.stderr.write(`enclaim: standard output cannot be written: ${error.message}\n`);
  process.once('exit', () => {
    process.exitCode ||= EXIT.unavailable;
  });
});

try {
  routeFetches();
  await program.parseAsync();
} catch (error) {
  // commander has already said what was wrong with the words of the call.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  else process.exitCode = report(error);
  // Work that is still under way, such as looking up a name, no longer delays the end of a command.
  process.stdout.write('', () => process.stderr.write('', () => process.exit()));
}
