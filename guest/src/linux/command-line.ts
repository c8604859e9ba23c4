/**
 * The kernel command line: the one input of the guest that every platform measures before anything
 * runs.
 */
import { readFileSync } from 'node:fs';
import { u32be } from '@enclaim/attestation/bytes';
import { type Ipv4Network, parseAddress, parseNetwork } from './ipv4.ts';
import { type Ipv6Network, parseAddress6, parseNetwork6 } from './ipv6.ts';

/** How the guest gets its IPv4 address, if it gets one. */
export type AddressSource = 'off' | 'dhcp' | { readonly network: Ipv4Network; readonly gateway: number | null };

/** How it gets its IPv6 address: `auto` takes the first that a router gives. */
export type AddressSource6 = 'off' | 'auto' | { readonly network: Ipv6Network; readonly gateway: Uint8Array | null };

/** Where the guest's place in the network comes from. */
export interface NetworkSources {
  /** `enclaim.ip`: `dhcp` (also when absent), `off`, or `ADDRESS/PREFIX[,GATEWAY]`. */
  readonly ip: AddressSource;
  /** `enclaim.ip6`: `off` (also when absent), `auto`, or `ADDRESS/PREFIX[,GATEWAY]`. */
  readonly ip6: AddressSource6;
  /** `enclaim.dns`: name servers, at most four; null leaves them to DHCP. */
  readonly dns: readonly Uint8Array[] | null;
}

/** The guest's words on the command line. */
export interface CommandLine {
  /** The text as measured, without the newline that /proc/cmdline appends. */
  readonly text: string;
  /**
   * `enclaim.policy`: the digest of the only policy that this boot may serve, or null if none is
   * stated.
   */
  readonly policy: `sha384:${string}` | null;
  readonly network: NetworkSources;
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
const MAX_NAME_SERVERS = 4;

const FIELDS = {
  policy: (value: string): CommandLine['policy'] => {
    // layer: form of a digest
    if (!/^sha384:[0-9a-f]{96}$/.test(value)) throw bad('policy', 'expected sha384: and 96 lower-case hex digits');
    return value as `sha384:${string}`;
  },
  ip: (value: string): AddressSource => {
    if (value === 'dhcp' || value === 'off') return value;
    return stated('ip', 'dhcp, off', value, parseNetwork, parseAddress);
  },
  ip6: (value: string): AddressSource6 => {
    if (value === 'auto' || value === 'off') return value;
    return stated('ip6', 'auto, off', value, parseNetwork6, parseAddress6);
  },
  dns: (value: string): NetworkSources['dns'] => {
    const servers = value.split(',').map(parseServer);
    const known = servers.filter((server) => server !== undefined);
    if (known.length < servers.length || known.length > MAX_NAME_SERVERS) {
      throw bad('dns', `expected at most ${MAX_NAME_SERVERS} addresses`);
    }
    return known;
  },
};

/** `ADDRESS/PREFIX[,GATEWAY]` of either family. */
function stated<N, A>(
  key: string,
  words: string,
  value: string,
  networkOf: (text: string) => N | undefined,
  addressOf: (text: string) => A | undefined,
): { network: N; gateway: A | null } {
  const [text = '', gateway, ...rest] = value.split(',');
  const network = networkOf(text);
  const via = gateway === undefined ? null : addressOf(gateway);
  if (network === undefined || via === undefined || rest.length > 0) {
    throw bad(key, `expected ${words} or ADDRESS/PREFIX[,GATEWAY]`);
  }
  return { network, gateway: via };
}

function parseServer(text: string): Uint8Array | undefined {
  const address = parseAddress(text);
  return address === undefined ? parseAddress6(text) : u32be(address);
}

/**
 * Parses a kernel command line. Keys of other owners are passed over. An `enclaim.` key that is
 * unknown, repeated or malformed is an error. A quote is an error anywhere, so that this parser and
 * the kernel's cannot split words differently.
 *
 * @throws CommandLineError.
 */
export function parseCommandLine(text: string): CommandLine {
  // layer: length of the command line
  if (text.length > MAX_LENGTH)
    throw new CommandLineError('too-long', `${text.length} characters, expected at most ${MAX_LENGTH}`);
  if (/* layer: printable text */ !/^[\x20-\x7e]*$/.test(text) || /* layer: no quotes */ text.includes('"')) {
    throw new CommandLineError('bad-character', 'expected printable ASCII without quotes');
  }
  const values = new Map<string, string>();
  for (const word of text.split(' ')) {
    if (word === '--') break; // what follows are arguments of init, not of the kernel
    if (!word.startsWith(PREFIX)) continue;
    const [key = '', value = ''] = splitOnce(word.slice(PREFIX.length));
    // layer: unknown keys
    if (!Object.hasOwn(FIELDS, key)) throw new CommandLineError('unknown-key', `unknown key ${PREFIX}${key}`);
    // layer: each key once
    if (values.has(key)) throw new CommandLineError('duplicate-key', `${PREFIX}${key} is stated twice`);
    values.set(key, value);
  }
  const read = <T>(key: string, parse: (value: string) => T, absent: T): T => {
    const value = values.get(key);
    return value === undefined ? absent : parse(value);
  };
  const network: NetworkSources = {
    ip: read('ip', FIELDS.ip, 'dhcp'),
    ip6: read('ip6', FIELDS.ip6, 'off'),
    dns: read('dns', FIELDS.dns, null),
  };
  if (network.ip === 'off' && network.ip6 === 'off') throw bad('ip', 'expected an address of one family at least');
  return { text, policy: read('policy', FIELDS.policy, null), network };
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
