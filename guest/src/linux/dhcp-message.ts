/**
 * DHCP messages (RFC 2131, options of RFC 2132): encodes a client's requests and parses a server's
 * replies.
 */
import { concat, equalBytes, Reader, u32be } from '@enclaim/attestation/bytes';
import { DecodeError } from '@enclaim/attestation/errors';
import { isHostAddress, prefixOf } from './ipv4.ts';

/** A message from this client. */
export interface DhcpRequest {
  readonly type: 'discover' | 'request';
  /** Transaction id, 32 random bits. */
  readonly id: number;
  /** The interface's six-byte Ethernet address. */
  readonly hardware: Uint8Array;
  /** Whole seconds since the exchange began. */
  readonly seconds: number;
  /**
   * With `request`: the address asked for, and the server that offered it (0 if a lease is renewed
   * by broadcast).
   */
  readonly address?: number;
  readonly server?: number;
}

/**
 * A lease that a server grants. **Trust**: the host answers as it likes; every field is bounded,
 * none is authentic.
 */
export interface DhcpLease {
  readonly address: number;
  readonly prefix: number;
  readonly gateway: number | null;
  readonly server: number;
  /** Seconds, 1 to 2^32 - 1 (no end). */
  readonly seconds: number;
  /** At most four. */
  readonly dns: readonly number[];
}

/** A server's reply to this client. */
export type DhcpReply = ({ readonly type: 'offer' | 'ack' } & DhcpLease) | { readonly type: 'nak' };

/** Longer replies are not read: an Ethernet frame holds no more. */
export const MAX_REPLY = 1500;

const MAGIC = 0x63825363;
const BOOT_REQUEST = 1;
const BOOT_REPLY = 2;
const ETHERNET = 1;
const BROADCAST = 0x8000;
const MIN_LENGTH = 300;
const MAX_DNS = 4;

const OPTION = {
  pad: 0,
  mask: 1,
  router: 3,
  dns: 6,
  requested: 50,
  lease: 51,
  overload: 52,
  type: 53,
  server: 54,
  wanted: 55,
  end: 255,
} as const;

const MESSAGE = { discover: 1, request: 3 } as const;
const REPLIES: ReadonlyMap<number, DhcpReply['type']> = new Map([
  [2, 'offer'],
  [5, 'ack'],
  [6, 'nak'],
]);

/**
 * The message as the payload of a UDP datagram. It asks for broadcast answers, because an interface
 * without an address hears no other.
 */
export function encodeRequest({ type, id, hardware, seconds, address, server }: DhcpRequest): Uint8Array {
  const header = new Uint8Array(236);
  const view = new DataView(header.buffer);
  header.set([BOOT_REQUEST, ETHERNET, hardware.length]);
  view.setUint32(4, id);
  view.setUint16(8, Math.min(seconds, 0xffff));
  view.setUint16(10, BROADCAST);
  header.set(hardware, 28);
  const body = concat(
    header,
    u32be(MAGIC),
    Uint8Array.of(OPTION.type, 1, MESSAGE[type]),
    address === undefined ? new Uint8Array() : concat(Uint8Array.of(OPTION.requested, 4), u32be(address)),
    server === undefined ? new Uint8Array() : concat(Uint8Array.of(OPTION.server, 4), u32be(server)),
    Uint8Array.of(OPTION.wanted, 3, OPTION.mask, OPTION.router, OPTION.dns),
    Uint8Array.of(OPTION.end),
  );
  return body.length < MIN_LENGTH ? concat(body, new Uint8Array(MIN_LENGTH - body.length)) : body;
}

/**
 * Reads a server's reply to the request that had `id` and `hardware`.
 *
 * @throws DecodeError, also for a well-formed message that answers another client.
 */
export function parseReply(bytes: Uint8Array, { id, hardware }: Pick<DhcpRequest, 'id' | 'hardware'>): DhcpReply {
  if (bytes.length > MAX_REPLY) throw new DecodeError('range', `reply of ${bytes.length} bytes`, 0);
  const reader = new Reader(bytes);
  expect(reader, 'operation', reader.u8(), BOOT_REPLY);
  expect(reader, 'hardware type', reader.u8(), ETHERNET);
  expect(reader, 'hardware length', reader.u8(), hardware.length);
  reader.skip(1); // hops
  expect(reader, 'transaction', reader.u32be(), id);
  reader.skip(8); // seconds, flags, client address
  const address = reader.u32be();
  reader.skip(8); // next server, relay
  if (!equalBytes(reader.take(16).subarray(0, hardware.length), hardware)) {
    throw new DecodeError('range', 'reply for another interface', 28);
  }
  reader.skip(192); // server name and boot file: never read, and never taken for options (overload)
  expect(reader, 'magic', reader.u32be(), MAGIC);
  const options = readOptions(reader);

  const [code = 0, ...rest] = options.get(OPTION.type) ?? [];
  const type = rest.length > 0 ? undefined : REPLIES.get(code);
  if (type === undefined) throw new DecodeError('range', 'not an offer, ack or nak', reader.at);
  if (type === 'nak') return { type };
  const words = (code: number, name: string): number[] => readWords(options.get(code), name, reader.at);
  const prefix = prefixOf(only(words(OPTION.mask, 'mask'), 'mask', reader.at));
  const gateway = words(OPTION.router, 'router')[0] ?? null;
  const seconds = only(words(OPTION.lease, 'lease'), 'lease', reader.at);
  if (!isHostAddress(address) || (gateway !== null && !isHostAddress(gateway))) {
    throw new DecodeError('range', 'not a host address', 16);
  }
  if (prefix === undefined || prefix === 0) throw new DecodeError('range', 'not a network mask', reader.at);
  if (seconds === 0) throw new DecodeError('range', 'lease of no time', reader.at);
  const server = only(words(OPTION.server, 'server'), 'server', reader.at);
  if (!isHostAddress(server)) throw new DecodeError('range', 'no host is this server', reader.at);
  return {
    type,
    address,
    prefix,
    gateway,
    server,
    seconds,
    dns: words(OPTION.dns, 'dns').filter(isHostAddress).slice(0, MAX_DNS),
  };
}

/**
 * Reads options in order. One that comes twice is an error rather than joined (RFC 3396), because
 * nothing here needs more than 255 bytes.
 */
function readOptions(reader: Reader): ReadonlyMap<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  for (;;) {
    const code = reader.u8();
    if (code === OPTION.end) return options;
    if (code === OPTION.pad) continue;
    if (options.has(code)) throw new DecodeError('canonical', `option ${code} twice`, reader.at);
    if (code === OPTION.overload) throw new DecodeError('range', 'options outside the options field', reader.at);
    options.set(code, reader.take(reader.u8()));
  }
}

function readWords(bytes: Uint8Array | undefined, name: string, at: number): number[] {
  if (bytes === undefined) return [];
  if (bytes.length === 0 || bytes.length % 4 !== 0)
    throw new DecodeError('range', `${name} of ${bytes.length} bytes`, at);
  const reader = new Reader(bytes);
  return Array.from({ length: bytes.length / 4 }, () => reader.u32be());
}

function only(words: readonly number[], name: string, at: number): number {
  const [word] = words;
  if (word === undefined || words.length > 1) throw new DecodeError('range', `${words.length} values of ${name}`, at);
  return word;
}

function expect(reader: Reader, name: string, found: number, expected: number): void {
  if (found !== expected) throw new DecodeError('range', `${name} ${found}, expected ${expected}`, reader.at);
}
