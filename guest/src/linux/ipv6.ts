/** IPv6 addresses as 16 bytes. */
import { isIPv6 } from 'node:net';
import { toHex } from '@enclaim/attestation/bytes';

/** An address and the length of its network prefix in bits. */
export interface Ipv6Network {
  readonly address: Uint8Array;
  /** 0 to 128. */
  readonly prefix: number;
}

const LENGTH = 16;

/**
 * The address written as RFC 4291 has it, without a zone and without an IPv4 address in it, or
 * undefined.
 */
export function parseAddress6(text: string): Uint8Array | undefined {
  if (!isIPv6(text) || /[%.]/.test(text)) return undefined;
  const [head = [], tail] = text.split('::').map((part) => part.split(':').filter((group) => group !== ''));
  const zeros = Array.from({ length: tail === undefined ? 0 : 8 - head.length - tail.length }, () => '0');
  const groups = [...head, ...zeros, ...(tail ?? [])].map((group) => Number.parseInt(group, 16));
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 255]));
}

/** The network written `ADDRESS/PREFIX`, or undefined. */
export function parseNetwork6(text: string): Ipv6Network | undefined {
  const match = /^([0-9a-fA-F:]{2,39})\/(\d|[1-9]\d|1[01]\d|12[0-8])$/.exec(text);
  const address = parseAddress6(match?.[1] ?? '');
  return address === undefined ? undefined : { address, prefix: Number(match?.[2]) };
}

/** As RFC 5952 writes it. */
export function formatAddress6(address: Uint8Array): string {
  const groups = toHex(address).match(/.{4}/g) ?? [];
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

/**
 * Whether a host may have this address. It may not be in ::/8 (unspecified, loopback and mapped
 * ones among it) or multicast.
 */
export function isHostAddress6(address: Uint8Array): boolean {
  return address.length === LENGTH && address[0] !== 0 && address[0] !== 0xff;
}

/** Whether the address is good on one link only (fe80::/10). */
export function isLinkLocal(address: Uint8Array): boolean {
  return address[0] === 0xfe && ((address[1] ?? 0) & 0xc0) === 0x80;
}

/** Whether `other` lies in the network. */
export function contains6({ address, prefix }: Ipv6Network, other: Uint8Array): boolean {
  return address.every((byte, index) => {
    const mask = 255 & ~(255 >> Math.min(8, Math.max(0, prefix - 8 * index)));
    return ((byte ^ (other[index] ?? 0)) & mask) === 0;
  });
}
