/**
 * Words of a launch's command line that set the guest's addresses. Commands that start a machine
 * and commands that refer to one take the same words.
 */
import { NETWORK_VALUE, NETWORK_WORDS } from '@enclaim/attestation/network-words';
import type { Command } from 'commander';
import { UsageError } from './usage-error.ts';

/** Options that {@link networkOptions} adds. */
export interface NetworkFlags {
  readonly ip?: string;
  readonly ip6?: string;
  readonly dns?: string;
}

/** Adds the options to a command. */
export function networkOptions(command: Command): Command {
  return command
    .option('--ip <how>', 'IPv4 of the guest, as launched: dhcp, off or ADDRESS/PREFIX[,GATEWAY]')
    .option('--ip6 <how>', 'IPv6 of the guest, as launched: off, auto or ADDRESS/PREFIX[,GATEWAY]')
    .option('--dns <addresses>', 'its name servers, as launched: at most four, joined by commas');
}

/**
 * Appends the words to the command line, in one order, because it is measured. The guest judges
 * their meaning.
 * @throws UsageError for a value that would be more than a word
 */
export function withNetwork(commandLine: string, flags: NetworkFlags): string {
  const words = NETWORK_WORDS.flatMap((key) => {
    const value = flags[key];
    if (value === undefined) return [];
    if (!NETWORK_VALUE.test(value)) throw new UsageError(`--${key} takes addresses, not "${value}"`);
    return [`enclaim.${key}=${value}`];
  });
  return [commandLine, ...words].join(' ');
}
