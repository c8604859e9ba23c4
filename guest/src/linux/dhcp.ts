/**
 * A DHCP client on one interface (RFC 2131): discover, request, and renewal for as long as the
 * machine runs.
 */
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { closeSync } from 'node:fs';
import { DecodeError } from '@enclaim/attestation/errors';
import { type DhcpLease, type DhcpReply, type DhcpRequest, encodeRequest, parseReply } from './dhcp-message.ts';
import { LinuxError } from './error.ts';
import { check, libc } from './libc.ts';

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_BROADCAST = 6;
const SO_BINDTODEVICE = 25;
const CLIENT_PORT = 68;
const SERVER_PORT = 67;

/** Waits for an answer, in milliseconds, one per attempt; then the client gives up. */
const PATIENCE = [500, 1000, 2000, 4000, 8000, 8000];
const MIN_RENEWAL_SECONDS = 60;
const MAX_TIMER_SECONDS = 86_400;

/**
 * Sends one request and resolves with the replies' first acceptable one, or undefined when
 * `patience` (ms) is over.
 */
export type DhcpExchange = (
  request: DhcpRequest,
  accepts: (reply: DhcpReply) => boolean,
  patience: number,
) => Promise<DhcpReply | undefined>;

/**
 * Gets a lease for the interface, which must be up.
 *
 * @throws LinuxError ETIMEDOUT if no server gives one, or the error of the socket.
 */
export async function acquireLease(name: string, hardware: Uint8Array): Promise<DhcpLease> {
  const socket = await openSocket(name);
  try {
    return await negotiate(exchangeOver(socket), hardware);
  } finally {
    socket.close();
  }
}

/**
 * Keeps `lease` alive, asking again at half of its time.
 *
 * **Trust**: a refusal or a changed grant is not taken over. The address of a served system does
 * not move under it, and a host that refuses only cuts itself off.
 *
 * @returns A function that ends the renewal.
 */
export function renewLease(name: string, hardware: Uint8Array, lease: DhcpLease): () => void {
  const wait = Math.min(Math.max(lease.seconds / 2, MIN_RENEWAL_SECONDS), MAX_TIMER_SECONDS);
  const timer = setInterval(() => void renewOnce(name, hardware, lease), wait * 1000);
  return () => clearInterval(timer);
}

/**
 * The client's side of the protocol over any exchange.
 *
 * @throws LinuxError ETIMEDOUT.
 */
export async function negotiate(exchange: DhcpExchange, hardware: Uint8Array): Promise<DhcpLease> {
  const begun = Date.now();
  for (const patience of PATIENCE) {
    const common = { id: randomBytes(4).readUInt32BE(), hardware, seconds: Math.floor((Date.now() - begun) / 1000) };
    const offer = await exchange({ ...common, type: 'discover' }, ({ type }) => type === 'offer', patience);
    if (offer?.type !== 'offer') continue;
    const { address, server } = offer;
    const answer = await exchange(
      { ...common, type: 'request', address, server },
      (reply) => reply.type === 'nak' || (reply.type === 'ack' && reply.address === address),
      patience,
    );
    if (answer?.type === 'ack') return answer;
  }
  throw new LinuxError('ETIMEDOUT', 'dhcp', `no lease after ${PATIENCE.length} attempts`);
}

async function renewOnce(name: string, hardware: Uint8Array, { address }: DhcpLease): Promise<void> {
  let socket: Socket | undefined;
  try {
    socket = await openSocket(name);
    const request = { type: 'request', id: randomBytes(4).readUInt32BE(), hardware, seconds: 0, address } as const;
    await exchangeOver(socket)(request, (reply) => reply.type === 'ack' && reply.address === address, PATIENCE[3] ?? 0);
  } catch {
    // The next turn of the timer asks again; a host that never answers can end the network anyway.
  } finally {
    socket?.close();
  }
}

function exchangeOver(socket: Socket): DhcpExchange {
  return (request, accepts, patience) =>
    new Promise((resolve, reject) => {
      const settle = (reply: DhcpReply | undefined): void => {
        clearTimeout(timer);
        socket.off('message', hear).off('error', fail);
        resolve(reply);
      };
      const fail = (error: Error): void => {
        settle(undefined);
        reject(error);
      };
      const hear = (bytes: Buffer): void => {
        try {
          const reply = parseReply(bytes, request);
          if (accepts(reply)) settle(reply);
        } catch (error) {
          if (!(error instanceof DecodeError)) fail(error as Error);
        }
      };
      const timer = setTimeout(settle, patience, undefined);
      socket.on('message', hear).on('error', fail);
      socket.send(encodeRequest(request), SERVER_PORT, '255.255.255.255', (error) => error && fail(error));
    });
}

/**
 * A UDP socket bound to the interface itself, since nothing routes to 255.255.255.255 before there
 * is an address.
 */
async function openSocket(name: string): Promise<Socket> {
  const fd = check('socket', libc().socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0));
  try {
    const one = Buffer.from([1, 0, 0, 0]);
    const device = Buffer.from(`${name}\0`, 'latin1');
    check('setsockopt SO_REUSEADDR', libc().setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, one, one.length));
    check('setsockopt SO_BROADCAST', libc().setsockopt(fd, SOL_SOCKET, SO_BROADCAST, one, one.length));
    check(
      `setsockopt SO_BINDTODEVICE ${name}`,
      libc().setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, device.length),
    );
    const address = Buffer.alloc(16);
    address.writeUInt16LE(AF_INET, 0);
    address.writeUInt16BE(CLIENT_PORT, 2);
    check('bind dhcp', libc().bind(fd, address, address.length));
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  const socket = createSocket('udp4');
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject).bind({ fd }, () => {
      socket.off('error', reject);
      resolve();
    });
  });
  return socket;
}
