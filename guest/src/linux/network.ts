/** The guest's network: loopback and one interface, configured from the measured command line or by DHCP. */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AddressSource } from './command-line.ts';
import { acquireLease, renewLease } from './dhcp.ts';
import { LinuxError } from './error.ts';
import { formatAddress, type Ipv4Network } from './ipv4.ts';
import { bringUp, hardwareAddress, setAddress, setGateway } from './link.ts';

/** The network as configured. */
export interface NetworkState {
  readonly interface: string;
  /** `10.0.2.15`. */
  readonly address: string;
  readonly prefix: number;
  readonly gateway: string | null;
  /** Name servers that DHCP gave, at most four. **Trust**: the host's choice. */
  readonly dns: readonly string[];
  /** Ends the renewal of the lease, if there is one. */
  close(): void;
}

/** Options of {@link configureNetwork}. */
export interface NetworkOptions {
  readonly source: AddressSource;
  /** Default `eth0`. */
  readonly interface?: string;
}

const POLL_MS = 5;
const INTERFACE_TIMEOUT_MS = 5000;

/**
 * Brings up `lo` and the interface, and gives the interface its address and default route.
 *
 * @throws LinuxError ENODEV where the interface does not appear, ETIMEDOUT where DHCP gets no lease, EADDRNOTAVAIL where the
 * gateway is the guest's own address.
 */
export async function configureNetwork({ source, interface: name = 'eth0' }: NetworkOptions): Promise<NetworkState> {
  bringUp('lo');
  await appearance(name);
  bringUp(name);
  if (source !== 'dhcp') {
    apply(name, source.network, source.gateway);
    return describe(name, source.network, source.gateway, [], () => {});
  }
  const hardware = hardwareAddress(name);
  const lease = await acquireLease(name, hardware);
  apply(name, lease, lease.gateway);
  return describe(name, lease, lease.gateway, lease.dns, renewLease(name, hardware, lease));
}

/** Virtio drivers probe in the background; the interface may come a moment after the module. */
async function appearance(name: string): Promise<void> {
  for (let waited = 0; !existsSync(`/sys/class/net/${name}`); waited += POLL_MS) {
    if (waited >= INTERFACE_TIMEOUT_MS) throw new LinuxError('ENODEV', `configure ${name}`);
    await sleep(POLL_MS);
  }
}

function apply(name: string, network: Ipv4Network, gateway: number | null): void {
  if (gateway === network.address)
    throw new LinuxError('EADDRNOTAVAIL', `configure ${name}`, 'gateway is this machine');
  setAddress(name, network);
  if (gateway !== null) setGateway(name, network, gateway);
}

function describe(
  name: string,
  { address, prefix }: Ipv4Network,
  gateway: number | null,
  dns: readonly number[],
  close: () => void,
): NetworkState {
  return {
    interface: name,
    address: formatAddress(address),
    prefix,
    gateway: gateway === null ? null : formatAddress(gateway),
    dns: dns.map(formatAddress),
    close,
  };
}
