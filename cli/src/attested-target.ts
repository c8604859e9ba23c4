/** The options of commands that verify a machine and then ask it something. */

import { type AttestedChannel, connect } from '@enclaim/client';
import type { Command } from 'commander';
import { collect, readDemands, readNewerThan } from './input.ts';
import { readReferences } from './references-file.ts';
import { UsageError } from './usage-error.ts';
import { printVerdict } from './verdict-table.ts';

/** Demands on the machine. */
export interface TargetOptions {
  readonly references: string;
  readonly referencesKey?: string;
  readonly deployment: string[];
  readonly newerThan?: string;
  readonly require: string[];
  readonly timeout: string;
  readonly quiet?: true;
}

/** Adds the argument of the target, and the options by which it is verified. */
export function targetOptions(command: Command): Command {
  return demandOptions(command.argument('<target>', 'HOST:PORT').requiredOption(...REFERENCES));
}

/** The same of a command that may do without a target. */
export function optionalTarget(command: Command): Command {
  return demandOptions(command.argument('[target]', 'HOST:PORT').option(...REFERENCES));
}

const REFERENCES = ['--references <file>', 'reference values and trust anchors (enclaim references)'] as const;

function demandOptions(command: Command): Command {
  return command
    .option('--references-key <pem>', 'public key that must have signed them, where they are a signed CoRIM')
    .option('--newer-than <time>', 'the boot must have begun then or later: RFC 3339, or P7D for a week ago')
    .option('--deployment <file>', "a deployment that the references' owner signed; repeatable", collect, [])
    .option('--require <demand>', 'what the attested policy must hold; repeatable', collect, [])
    .option('--timeout <seconds>', 'for the verdict, and again for each question', '60')
    .option('--quiet', 'print no verdict that is ok');
}

/**
 * Connects to a machine that shows what the options demand.
 *
 * @returns the channel, and the milliseconds that a question may take
 * @throws UsageError; as `connect`
 */
export async function connectTarget(
  target: string,
  options: TargetOptions,
): Promise<{ readonly channel: AttestedChannel; readonly timeout: number }> {
  const timeout = Number(options.timeout) * 1000;
  if (!(timeout > 0)) throw new UsageError(`--timeout ${options.timeout}: expected seconds`);
  const channel = await connect(target, {
    references: await readReferences(options),
    demands: readDemands(options.require),
    newerThan: readNewerThan(options.newerThan),
    timeout,
  });
  if (!options.quiet) printVerdict(channel.attestation.verdict);
  return { channel, timeout };
}
