#!/usr/bin/env node
/** The `enclaim` command. */

import { routeFetches } from '@enclaim/client/route';
import { CommanderError } from 'commander';
import { EXIT } from './exit-status.ts';
import { makeProgram } from './program.ts';

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
  await (await makeProgram(process.argv.slice(2))).parseAsync();
} catch (error) {
  // commander has already said what was wrong with the words of the call.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  else process.exitCode = (await import('./report.ts')).report(error);
  // Work that is still under way, such as looking up a name, no longer delays the end of a command.
  process.stdout.write('', () => process.stderr.write('', () => process.exit()));
}
