/**
 * The guest's network: loopback and one interface, configured from the measured command line, by
 * DHCP, or by the first router.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromHex, u32be } from '@enclaim/attestation/bytes';
import type { AddressSource, AddressSource6, NetworkSources } from './command-line.ts';
import { acquireLease, renewLease } from './dhcp.ts';
import { LinuxError } from './error.ts';
import { formatAddress, type Ipv4Network } from './ipv4.ts';
import { formatAddress6, type Ipv6Network, isHostAddress6 } from './ipv6.ts';
import { bringUp, hardwareAddress, isInterface, setAddress, setAddress6, setGateway, setGateway6 } from './link.ts';

/** The network as configured. */
export interface NetworkState {
  readonly interface: string;
  /** `10.0.2.15`, `fd00::15`: at most one of each family, at least one. */
  readonly addresses: readonly string[];
  /**
   * Name servers, of 4 or 16 bytes, at most four. **Trust**: the host's choice if the command line
   * states none.
   */
  readonly dns: readonly Uint8Array[];
  /** Ends the renewal of the lease, if there is one. */
  close(): void;
}

const POLL_MS = 5;
const INTERFACE_TIMEOUT_MS = 5000;
const ROUTER_TIMEOUT_MS = 15_000;
const LINK_SCOPE = '20';
const NOWHERE = '0'.repeat(32);

/**
 * Brings up `lo` and the interface, and gives the interface its addresses and default routes.
 *
 * @throws LinuxError ENODEV if the interface does not appear, ETIMEDOUT if DHCP gets no lease or no
 *   router gives an address, EADDRNOTAVAIL if the gateway is the guest's own address.
 */
export async function configureNetwork(sources: NetworkSources, name = 'eth0'): Promise<NetworkState> {
  bringUp('lo');
  await until(INTERFACE_TIMEOUT_MS, 'ENODEV', `configure ${name}`, () => isInterface(name) || undefined);
  bringUp(name);
  const [lease, own6] = await Promise.all([join4(name, sources.ip), join6(name, sources.ip6)]);
  return {
    interface: name,
    addresses: [...(lease === null ? [] : [formatAddress(lease.address)]), ...(own6 === null ? [] : [own6])],
    dns: sources.dns ?? lease?.dns.map(u32be) ?? [],
    close: lease?.close ?? (() => {}),
  };
}

interface Joined extends Ipv4Network {
  readonly dns: readonly number[];
  close(): void;
}

async function join4(name: string, source: AddressSource): Promise<Joined | null> {
  if (source === 'off') return null;
  if (source !== 'dhcp') {
    apply(name, source.network, source.gateway);
    return { ...source.network, dns: [], close: () => {} };
  }
  const hardware = hardwareAddress(name);
  const lease = await acquireLease(name, hardware);
  apply(name, lease, lease.gateway);
  return { ...lease, close: renewLease(name, hardware, lease) };
}

function apply(name: string, network: Ipv4Network, gateway: number | null): void {
  if (gateway === network.address) throw ownGateway(name);
  setAddress(name, network);
  if (gateway !== null) setGateway(name, network, gateway);
}

async function join6(name: string, source: AddressSource6): Promise<string | null> {
  if (source === 'off') return null;
  const { network, gateway } = source === 'auto' ? await firstRouter(name) : source;
  if (gateway !== null && Buffer.compare(gateway, network.address) === 0) throw ownGateway(name);
  turnIpv6(name, 'on');
  setAddress6(name, network);
  if (gateway !== null) setGateway6(name, network, gateway);
  return formatAddress6(network.address);
}

/**
 * Returns what the first router's advertisement gives, and states it as if the command line had
 * done so.
 *
 * The kernel hears advertisements only until then. **Trust**: no later advertisement is heard, so a
 * router may come and go, but moves neither the address nor the route.
 */
async function firstRouter(name: string): Promise<Exclude<AddressSource6, string>> {
  setting(name, 'accept_ra', '1');
  turnIpv6(name, 'on');
  try {
    return await until(ROUTER_TIMEOUT_MS, 'ETIMEDOUT', `router of ${name}`, () => {
      const [network, gateway] = [advertisedNetwork(name), advertisedGateway(name)];
      return network !== undefined && gateway !== undefined ? { network, gateway } : undefined;
    });
  } finally {
    turnIpv6(name, 'off'); // which forgets every address and route
    setting(name, 'accept_ra', '0');
  }
}

/** /proc/net/if_inet6: address, interface, prefix, scope, flags, name. */
function advertisedNetwork(name: string): Ipv6Network | undefined {
  for (const line of readFileSync('/proc/net/if_inet6', 'latin1').split('\n')) {
    const [hex = '', , prefix = '', scope, , of] = line.trim().split(/\s+/);
    if (of !== name || scope === LINK_SCOPE) continue;
    const address = fromHex(hex);
    if (isHostAddress6(address)) return { address, prefix: Number.parseInt(prefix, 16) };
  }
  return undefined;
}

/**
 * /proc/net/ipv6_route: destination and prefix, source and prefix, next hop, three counters, flags,
 * name.
 */
function advertisedGateway(name: string): Uint8Array | undefined {
  for (const line of readFileSync('/proc/net/ipv6_route', 'latin1').split('\n')) {
    const [destination, prefix, , , hop = '', , , , , of] = line.trim().split(/\s+/);
    if (of !== name || destination !== NOWHERE || prefix !== '00' || hop === NOWHERE) continue;
    return fromHex(hop);
  }
  return undefined;
}

function turnIpv6(name: string, way: 'on' | 'off'): void {
  setting(name, 'disable_ipv6', way === 'on' ? '0' : '1');
}

function setting(name: string, key: string, value: string): void {
  writeFileSync(`/proc/sys/net/ipv6/conf/${name}/${key}`, value);
}

/**
 * Repeats a look until it returns something. Drivers probe, and routers answer, in the background.
 */
async function until<T>(
  limit: number,
  code: 'ENODEV' | 'ETIMEDOUT',
  call: string,
  look: () => T | undefined,
): Promise<T> {
  for (let waited = 0; waited < limit; waited += POLL_MS) {
    const found = look();
    if (found !== undefined) return found;
    await sleep(POLL_MS);
  }
  throw new LinuxError(code, call);
}

function ownGateway(name: string): LinuxError {
  return new LinuxError('EADDRNOTAVAIL', `configure ${name}`, 'gateway is this machine');
}
