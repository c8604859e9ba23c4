/**
 * The guest's place in the network: shut, then joined, then open for the subprocessors that the
 * measured policy names.
 */

import { decodePolicy, PolicyError } from '@enclaim/policy-schema/admission';
import {
  configureNetwork,
  type FirewallPlan,
  formatAddress6,
  installFirewall,
  type NetworkSources,
  type NetworkState,
} from './linux/index.ts';
import { Refusal } from './refusal.ts';

const HTTPS = 443;

/**
 * Shuts the network but for the service and what addresses need, and then brings it up.
 * @param service - TCP port
 * @throws LinuxError
 */
export function joinNetwork(sources: NetworkSources, service: number): Promise<NetworkState> {
  installFirewall({ ...planFor(sources, service), ipv6: ipv6Of(sources, 'routers'), egress: null });
  return configureNetwork(sources);
}

/**
 * Lets the runtime reach name servers and the ports of the subprocessors that the policy names, and
 * of the machine that keeps keys. If the policy names none, nothing may be sent out. Routers are no
 * longer heard.
 * @param policy - canonical bytes that were measured
 * @returns how many rules there are
 * @throws LinuxError; Refusal `policy`
 */
export function openNetwork(
  sources: NetworkSources,
  service: number,
  { policy, user, resolvers }: { policy: Uint8Array; user: number; resolvers: readonly Uint8Array[] },
): number {
  const ports = egressPorts(policy);
  const egress = ports.length === 0 ? null : { user, ports, resolvers };
  return installFirewall({ ...planFor(sources, service), egress });
}

/**
 * TCP ports of the subprocessors and of the keeper of keys, each once, in order.
 * @throws Refusal `policy`
 */
export function egressPorts(policy: Uint8Array): readonly number[] {
  try {
    const { subprocessors, storage } = decodePolicy(policy);
    const peers = [...Object.values(subprocessors), ...(storage?.keeper === undefined ? [] : [storage.keeper])];
    const ports = peers.map(({ address }) => Number(new URL(address).port) || HTTPS);
    return [...new Set(ports)].sort((a, b) => a - b);
  } catch (cause) {
    if (!(cause instanceof PolicyError)) throw cause;
    throw new Refusal('policy', cause.message, { cause });
  }
}

/** Addresses as the runtime's resolver takes them. */
export function serverNames(resolvers: readonly Uint8Array[]): readonly string[] {
  return resolvers.map((address) => (address.length === 4 ? address.join('.') : formatAddress6(address)));
}

function planFor(sources: NetworkSources, service: number): Omit<FirewallPlan, 'egress'> {
  return { service, dhcp: sources.ip === 'dhcp', ipv6: ipv6Of(sources, 'on') };
}

function ipv6Of({ ip6 }: NetworkSources, auto: 'on' | 'routers'): FirewallPlan['ipv6'] {
  if (ip6 === 'off') return 'off';
  return ip6 === 'auto' ? auto : 'on';
}
