/** IPv4 addresses as unsigned 32-bit numbers. */

/** An address and the length of its network prefix in bits. */
export interface Ipv4Network {
  readonly address: number;
  /** 0 to 32. */
  readonly prefix: number;
}

/** The address written as four decimal octets without leading zeros, or undefined. */
export function parseAddress(text: string): number | undefined {
  const match = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/.exec(text);
  const octets = match?.slice(1).map(Number);
  if (octets === undefined || octets.some((octet) => octet > 255)) return undefined;
  return octets.reduce((address, octet) => address * 256 + octet, 0);
}

/** The network written `ADDRESS/PREFIX`, or undefined. */
export function parseNetwork(text: string): Ipv4Network | undefined {
  const match = /^([0-9.]{7,15})\/(\d|[12]\d|3[0-2])$/.exec(text);
  const address = parseAddress(match?.[1] ?? '');
  return address === undefined ? undefined : { address, prefix: Number(match?.[2]) };
}

/** `10.0.2.15` for 0x0a00020f. */
export function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

/** The mask with `prefix` leading one bits. */
export function maskOf(prefix: number): number {
  return prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0;
}

/** The number of leading one bits of `mask`, or undefined if they are not contiguous. */
export function prefixOf(mask: number): number | undefined {
  const prefix = Math.clz32(~mask);
  return maskOf(prefix) === mask ? prefix : undefined;
}

/** Whether a host may have this address: not 0/8, loopback, multicast, reserved or broadcast. */
export function isHostAddress(address: number): boolean {
  const first = address >>> 24;
  return first !== 0 && first !== 127 && first < 224;
}

/** Whether `other` lies in the network. */
export function contains({ address, prefix }: Ipv4Network, other: number): boolean {
  return ((address ^ other) & maskOf(prefix)) === 0;
}
