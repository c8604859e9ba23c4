/**
 * Netlink (RFC 3549): messages and attributes as the kernel lays them out, and one conversation
 * with it.
 */
import { closeSync } from 'node:fs';
import { concat, Reader } from '@enclaim/attestation/bytes';
import { DecodeError } from '@enclaim/attestation/errors';
import { errnoName, LinuxError } from './error.ts';
import { check, libc } from './libc.ts';

/** A message without its sequence number, which the conversation gives it. */
export interface NetlinkMessage {
  readonly type: number;
  /** Values of {@link NETLINK}, or-ed; a request has `request` set by the conversation. */
  readonly flags: number;
  readonly body: Uint8Array;
}

/** Protocols and flags. */
export const NETLINK = {
  /** Protocol NETLINK_NETFILTER. */
  netfilter: 12,
  acknowledge: 0x4,
  dump: 0x300,
  create: 0x400,
  append: 0x800,
} as const;

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;
const REQUEST = 0x1;
const MULTIPART = 0x2;
const INTERRUPTED = 0x10;
const TYPE = { error: 2, done: 3 } as const;
const HEADER = 16;
const ATTRIBUTE_HEADER = 4;
/** Bytes of one read: the kernel sends no larger piece of a dump. */
const PIECE = 64 * 1024;
const MAX_PIECES = 256;

/** An attribute: length, type, value, and padding to four bytes. */
export function attribute(type: number, ...value: readonly Uint8Array[]): Uint8Array {
  const bytes = concat(...value);
  const header = Buffer.alloc(ATTRIBUTE_HEADER);
  header.writeUInt16LE(ATTRIBUTE_HEADER + bytes.length, 0);
  header.writeUInt16LE(type, 2);
  return padded(concat(header, bytes));
}

/**
 * Attributes by type, values without padding; flags in the type are dropped.
 *
 * @throws DecodeError, also if one comes twice.
 */
export function readAttributes(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> {
  const reader = new Reader(bytes);
  const found = new Map<number, Uint8Array>();
  while (reader.left > 0) {
    const length = reader.u16le();
    const type = reader.u16le() & 0x3fff;
    if (found.has(type)) throw new DecodeError('canonical', `attribute ${type} twice`, reader.at);
    found.set(type, reader.take(length - ATTRIBUTE_HEADER));
    reader.skip(Math.min(-length & 3, reader.left));
  }
  return found;
}

/**
 * Sends requests in one datagram and returns the kernel's answers, in order, without
 * acknowledgements. By then each request that asks for an acknowledgement has got one, and a dump
 * has come to its end.
 *
 * @param call - What it is for, for the error.
 * @throws LinuxError with the kernel's errno if it refuses a request; EPROTO if it does not answer
 *   as it should.
 */
export function converse(call: string, protocol: number, requests: readonly NetlinkMessage[]): NetlinkMessage[] {
  const socket = check(`${call}: socket`, libc().socket(AF_NETLINK, SOCK_RAW_CLOEXEC, protocol));
  try {
    const datagram = concat(...requests.map(encodeMessage));
    check(`${call}: send`, libc().send(socket, datagram, BigInt(datagram.length), 0));
    return collect(call, socket, requests.filter(({ flags }) => flags & (NETLINK.acknowledge | NETLINK.dump)).length);
  } finally {
    closeSync(socket);
  }
}

/** Requests are numbered from one, in order. */
function encodeMessage({ type, flags, body }: NetlinkMessage, index: number): Uint8Array {
  const header = Buffer.alloc(HEADER);
  header.writeUInt32LE(HEADER + body.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flags | REQUEST, 6);
  header.writeUInt32LE(index + 1, 8);
  return padded(concat(header, body));
}

/**
 * Collects the answers without waiting: the kernel answers before `send` returns, or while a dump
 * is read.
 */
function collect(call: string, socket: number, expected: number): NetlinkMessage[] {
  const answers: NetlinkMessage[] = [];
  const piece = Buffer.alloc(PIECE);
  let ends = 0;
  for (let pieces = 0; ends < expected; pieces++) {
    if (pieces === MAX_PIECES) throw new LinuxError('EPROTO', call, 'an answer without end');
    const length = check(`${call}: recv`, libc().recv(socket, piece, BigInt(PIECE), MSG_DONTWAIT | MSG_TRUNC));
    if (length > PIECE) throw new LinuxError('EPROTO', call, `an answer of ${length} bytes`);
    for (const answer of readMessages(call, Uint8Array.from(piece.subarray(0, length)))) {
      if (answer.flags & INTERRUPTED) throw new LinuxError('EPROTO', call, 'something changed during the dump');
      if (answer.type === TYPE.error || answer.type === TYPE.done) {
        refuseError(call, answer.body);
        ends++;
      } else answers.push(answer);
    }
  }
  return answers;
}

function readMessages(call: string, bytes: Uint8Array): NetlinkMessage[] {
  try {
    const reader = new Reader(bytes);
    const messages: NetlinkMessage[] = [];
    while (reader.left > 0) {
      const length = reader.u32le();
      const type = reader.u16le();
      const flags = reader.u16le();
      // Sequence and port: a socket of its own hears answers to its own requests only.
      reader.skip(8);
      messages.push({ type, flags: flags & ~MULTIPART, body: reader.take(length - HEADER) });
      reader.skip(Math.min(-length & 3, reader.left));
    }
    return messages;
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new LinuxError('EPROTO', call, error.message);
  }
}

/** Acknowledgements and ends begin with a negative errno, or with zero. */
function refuseError(call: string, body: Uint8Array): void {
  const errno = -(new Reader(body).u32le() | 0);
  if (errno !== 0) throw new LinuxError(errnoName(errno), call);
}

function padded(bytes: Uint8Array): Uint8Array {
  return concat(bytes, new Uint8Array(-bytes.length & 3));
}
