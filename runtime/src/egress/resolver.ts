/**
 * Resolves names to addresses.
 *
 * **Trust**: the network's operator gives the answers, so they are hints. TLS shows who is at an
 * address.
 */

import { Resolver } from 'node:dns/promises';
import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { RefusalError } from '../errors.ts';

/**
 * Addresses of a name, in the order in which to try them.
 *
 * @throws RefusalError `peer` if there is none
 */
export type Resolve = (host: string) => Promise<readonly string[]>;

const MAX_ADDRESSES = 4;
const QUERY_MS = 5000;
const TRIES = 2;

/**
 * Networks in which no subprocessor is:
 *
 * - this machine;
 * - its link, where the host has services of its own;
 * - multicast and broadcast addresses;
 * - IPv6 addresses that stand for an IPv4 address: the inner address is on no list here, and a
 *   gateway would unwrap it;
 * - services of clouds for the VMs on their hosts.
 *
 * **Trust**: without this list, a host that answers DNS could make the runtime connect there.
 */
const NOWHERE = new BlockList();
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['100.100.100.200', 32], // metadata of Alibaba
  ['168.63.129.16', 32], // Azure's host: DHCP, DNS, keys and health
  ['169.254.0.0', 16],
  ['192.0.0.0', 24], // IETF protocols (RFC 6890), and metadata of Oracle
  ['224.0.0.0', 3],
] as const)
  NOWHERE.addSubnet(network, prefix, 'ipv4');
for (const [network, prefix] of [
  ['::', 96],
  ['::ffff:0:0:0', 96], // translated by a host (RFC 2765)
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48], // translated in a network of its own (RFC 8215)
  ['2001::', 32], // Teredo
  ['2002::', 16], // 6to4
  ['fd00:ec2::', 32], // metadata, names and time of EC2
  ['fd20:ce::254', 128], // metadata of Compute Engine
  ['fe80::', 10],
  ['ff00::', 8],
] as const)
  NOWHERE.addSubnet(network, prefix, 'ipv6');

/** Whether an answer is an address at which a subprocessor could be. */
export function isReachable(address: string): boolean {
  if (isIPv4(address)) return !NOWHERE.check(address, 'ipv4');
  // A mapped IPv4 address is checked against both lists.
  return isIPv6(address) && !address.includes('%') && !NOWHERE.check(address, 'ipv6');
}

/**
 * A resolver that asks the given name servers. It reads no file and no other source: the VM has
 * none.
 */
export function askServers(servers: readonly string[]): Resolve {
  const resolver = new Resolver({ timeout: QUERY_MS, tries: TRIES });
  if (servers.length > 0) resolver.setServers(servers);
  return async (host) => {
    if (servers.length === 0) throw new RefusalError('peer', 'there is no name server');
    const answers = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]);
    const addresses = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    return reachable(host, addresses);
  };
}

/** @throws RefusalError `peer` */
export function reachable(host: string, addresses: readonly string[]): readonly string[] {
  // layer: addresses that lead out (off: addresses)
  const found = addresses.filter(isReachable).slice(0, MAX_ADDRESSES);
  if (found.length === 0) throw new RefusalError('peer', `${host} has no address that is reached from here`);
  return found;
}
