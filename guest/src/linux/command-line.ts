/** The kernel command line: the one input of the guest that every platform measures before anything runs. */
import { readFileSync } from 'node:fs';
import { type Ipv4Network, parseAddress, parseNetwork } from './ipv4.ts';

/** How the guest gets its address. */
export type AddressSource = 'dhcp' | { readonly network: Ipv4Network; readonly gateway: number | null };

/** What the command line says to the guest. */
export interface CommandLine {
  /** The text as measured, without the newline that /proc/cmdline appends. */
  readonly text: string;
  /** `enclaim.policy`: the digest of the only policy that this boot may serve, or null where none is stated. */
  readonly policy: `sha384:${string}` | null;
  /** `enclaim.ip`: `dhcp` (also when absent) or `ADDRESS/PREFIX[,GATEWAY]`. */
  readonly address: AddressSource;
}

/** The command line is not one that the guest accepts. */
export class CommandLineError extends Error {
  override readonly name = 'CommandLineError';
  readonly code: 'too-long' | 'bad-character' | 'unknown-key' | 'duplicate-key' | 'bad-value';

  constructor(code: CommandLineError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

const MAX_LENGTH = 4096;
const PREFIX = 'enclaim.';

const FIELDS = {
  policy: (value: string): CommandLine['policy'] => {
    if (!/^sha384:[0-9a-f]{96}$/.test(value)) throw bad('policy', 'expected sha384: and 96 lower-case hex digits');
    return value as `sha384:${string}`;
  },
  ip: (value: string): AddressSource => {
    if (value === 'dhcp') return 'dhcp';
    const [network, gateway, ...rest] = value.split(',');
    const parsed = parseNetwork(network ?? '');
    const via = gateway === undefined ? null : parseAddress(gateway);
    if (parsed === undefined || via === undefined || rest.length > 0) {
      throw bad('ip', 'expected dhcp or ADDRESS/PREFIX[,GATEWAY]');
    }
    return { network: parsed, gateway: via };
  },
};

/**
 * Parses a kernel command line. Keys of other owners are passed over; an `enclaim.` key that is unknown, repeated or
 * malformed is an error, and so is a quote anywhere, so that this parser and the kernel's cannot split words differently.
 *
 * @throws CommandLineError.
 */
export function parseCommandLine(text: string): CommandLine {
  if (text.length > MAX_LENGTH)
    throw new CommandLineError('too-long', `${text.length} characters, expected at most ${MAX_LENGTH}`);
  if (!/^[\x20-\x7e]*$/.test(text) || text.includes('"')) {
    throw new CommandLineError('bad-character', 'expected printable ASCII without quotes');
  }
  const values = new Map<string, string>();
  for (const word of text.split(' ')) {
    if (word === '--') break; // what follows are arguments of init, not of the kernel
    if (!word.startsWith(PREFIX)) continue;
    const [key = '', value = ''] = splitOnce(word.slice(PREFIX.length));
    if (!Object.hasOwn(FIELDS, key)) throw new CommandLineError('unknown-key', `unknown key ${PREFIX}${key}`);
    if (values.has(key)) throw new CommandLineError('duplicate-key', `${PREFIX}${key} is stated twice`);
    values.set(key, value);
  }
  const read = <T>(key: string, parse: (value: string) => T, absent: T): T => {
    const value = values.get(key);
    return value === undefined ? absent : parse(value);
  };
  return { text, policy: read('policy', FIELDS.policy, null), address: read('ip', FIELDS.ip, 'dhcp') };
}

/**
 * Reads /proc/cmdline.
 *
 * @throws CommandLineError.
 */
export function readCommandLine(): CommandLine {
  return parseCommandLine(readFileSync('/proc/cmdline', 'latin1').replace(/\n$/, ''));
}

function splitOnce(word: string): [string, string] {
  const at = word.indexOf('=');
  return at < 0 ? [word, ''] : [word.slice(0, at), word.slice(at + 1)];
}

function bad(key: string, expected: string): CommandLineError {
  return new CommandLineError('bad-value', `${PREFIX}${key}: ${expected}`);
}
