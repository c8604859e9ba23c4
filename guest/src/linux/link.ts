/** One network interface, through the classic ioctls (netdevice(7)). */
import { closeSync } from 'node:fs';
import { LinuxError } from './error.ts';
import { contains, type Ipv4Network, maskOf } from './ipv4.ts';
import { contains6, type Ipv6Network, isLinkLocal } from './ipv6.ts';
import { addressOf, check, libc } from './libc.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const IFF_UP = 1;
const RTF_UP = 1;
const RTF_GATEWAY = 2;
const RTF_HOST = 4;

const SIOCADDRT = 0x890bn;
const SIOCGIFFLAGS = 0x8913n;
const SIOCSIFFLAGS = 0x8914n;
const SIOCSIFADDR = 0x8916n;
const SIOCSIFNETMASK = 0x891cn;
const SIOCGIFHWADDR = 0x8927n;
const SIOCGIFINDEX = 0x8933n;

/**
 * Brings the interface up.
 *
 * @throws LinuxError.
 */
export function bringUp(name: string): void {
  const request = interfaceRequest(name);
  control(`read flags of ${name}`, SIOCGIFFLAGS, request);
  request.writeUInt16LE(request.readUInt16LE(16) | IFF_UP, 16);
  control(`bring up ${name}`, SIOCSIFFLAGS, request);
}

/**
 * The interface's six-byte Ethernet address.
 *
 * @throws LinuxError.
 */
export function hardwareAddress(name: string): Uint8Array {
  const request = interfaceRequest(name);
  control(`read address of ${name}`, SIOCGIFHWADDR, request);
  return Uint8Array.from(request.subarray(18, 24));
}

/**
 * Gives the interface its address, replacing the one it has.
 *
 * @throws LinuxError.
 */
export function setAddress(name: string, { address, prefix }: Ipv4Network): void {
  control(`set address of ${name}`, SIOCSIFADDR, withAddress(interfaceRequest(name), address));
  control(`set netmask of ${name}`, SIOCSIFNETMASK, withAddress(interfaceRequest(name), maskOf(prefix)));
}

/**
 * Routes everything else through `gateway`. If the gateway is outside the network (a /32 address,
 * as some clouds give), it first gets a route of its own.
 *
 * @throws LinuxError.
 */
export function setGateway(name: string, network: Ipv4Network, gateway: number): void {
  if (!contains(network, gateway))
    addRoute(name, { destination: gateway, mask: 0xffffffff, gateway: 0, flags: RTF_HOST });
  addRoute(name, { destination: 0, mask: 0, gateway, flags: RTF_GATEWAY });
}

/**
 * Gives the interface an IPv6 address, for good. IPv6 must be on there.
 *
 * @throws LinuxError.
 */
export function setAddress6(name: string, { address, prefix }: Ipv6Network): void {
  const request = Buffer.alloc(24); // struct in6_ifreq: address, length of the prefix, interface
  request.set(address);
  request.writeUInt32LE(prefix, 16);
  request.writeInt32LE(interfaceIndex(name), 20);
  control(`set address of ${name}`, SIOCSIFADDR, request, AF_INET6);
}

/**
 * Routes everything else of IPv6 through `gateway`. One outside the network gets a route of its
 * own, unless it is good on this link only.
 *
 * @throws LinuxError.
 */
export function setGateway6(name: string, network: Ipv6Network, gateway: Uint8Array): void {
  if (!contains6(network, gateway) && !isLinkLocal(gateway)) {
    addRoute6(name, { destination: gateway, prefix: 128, flags: RTF_HOST });
  }
  addRoute6(name, { gateway, prefix: 0, flags: RTF_GATEWAY });
}

/**
 * struct in6_rtmsg: destination, source, gateway, prefix of the destination at 52, metric at 56,
 * flags at 72, interface at 76.
 */
function addRoute6(
  name: string,
  route: { destination?: Uint8Array; prefix: number; gateway?: Uint8Array; flags: number },
): void {
  const message = Buffer.alloc(80);
  if (route.destination !== undefined) message.set(route.destination, 0);
  if (route.gateway !== undefined) message.set(route.gateway, 32);
  message.writeUInt16LE(route.prefix, 52);
  message.writeUInt32LE(1, 56);
  message.writeUInt32LE(RTF_UP | route.flags, 72);
  message.writeInt32LE(interfaceIndex(name), 76);
  control(`add route through ${name}`, SIOCADDRT, message, AF_INET6);
}

/**
 * Whether the interface is there.
 *
 * @throws LinuxError, another than ENODEV.
 */
export function isInterface(name: string): boolean {
  try {
    return interfaceIndex(name) > 0;
  } catch (error) {
    if (error instanceof LinuxError && error.code === 'ENODEV') return false;
    throw error;
  }
}

function interfaceIndex(name: string): number {
  const request = interfaceRequest(name);
  control(`find ${name}`, SIOCGIFINDEX, request);
  return request.readInt32LE(16);
}

/**
 * struct rtentry: destination at 8, gateway at 24, mask at 40, flags at 56, pointer to the device's
 * name at 88.
 */
function addRoute(name: string, route: { destination: number; mask: number; gateway: number; flags: number }): void {
  const entry = Buffer.alloc(120);
  const device = Buffer.from(`${name}\0`, 'latin1');
  writeSocketAddress(entry, 8, route.destination);
  writeSocketAddress(entry, 24, route.gateway);
  writeSocketAddress(entry, 40, route.mask);
  entry.writeUInt16LE(RTF_UP | route.flags, 56);
  entry.writeBigUInt64LE(addressOf(device), 88);
  control(`add route through ${name}`, SIOCADDRT, entry);
  device.fill(0); // also what keeps the name referenced until the call is over
}

/** struct ifreq: 16 bytes of name, 24 of union. */
function interfaceRequest(name: string): Buffer {
  const request = Buffer.alloc(40);
  request.write(name, 0, 15, 'latin1');
  return request;
}

function withAddress(request: Buffer, address: number): Buffer {
  writeSocketAddress(request, 16, address);
  return request;
}

/** struct sockaddr_in: family, port, address in network order. */
function writeSocketAddress(into: Buffer, at: number, address: number): void {
  into.writeUInt16LE(AF_INET, at);
  into.writeUInt32BE(address, at + 4);
}

function control(what: string, request: bigint, argument: Buffer, family = AF_INET): void {
  const socket = check('socket', libc().socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  try {
    check(what, libc().ioctl(socket, request, argument));
  } finally {
    closeSync(socket);
  }
}
