/**
 * The firewall: what is not named here is dropped, in both directions, before the interface is up.
 *
 * It keeps no state. A TCP connection begins with a segment that has SYN and not ACK. If no such
 * segment may pass, no connection can begin, and what else passes belongs to none.
 *
 * **Bound**: connection tracking would say the same with half a megabyte of kernel more behind the
 * network, and with a table that a stranger can fill.
 */
import { utf8 } from '@enclaim/attestation/bytes';
import { type Chain, compare, type Expression, type Hook, header, masked, meta, replaceTable } from './nftables.ts';

/** A plan of the traffic that the firewall lets through. */
export interface FirewallPlan {
  /** The one TCP port that is served. */
  readonly service: number;
  /** Whether an address is asked of a DHCP server. */
  readonly dhcp: boolean;
  /** IPv6: none of it; with the addresses it has; or also hearing routers. */
  readonly ipv6: 'off' | 'on' | 'routers';
  /** Allowed destinations of traffic from inside. Null: the policy names no subprocessor. */
  readonly egress: {
    /** The only user who may begin a connection. */
    readonly user: number;
    /** TCP ports of the subprocessors that the policy names. */
    readonly ports: readonly number[];
    /** Name servers, each of 4 or 16 bytes. */
    readonly resolvers: readonly Uint8Array[];
  } | null;
}

/** A rule: packets of one direction that meet every condition are accepted. */
export interface FirewallRule {
  readonly hook: Exclude<Hook, 'forward'>;
  /** A description, for people, of what it lets through. */
  readonly what: string;
  readonly when: readonly Expression[];
}

const TABLE = 'enclaim';
const NAME_LENGTH = 16; // IFNAMSIZ
const PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;
const FAMILY = { ipv4: 2, ipv6: 10 } as const;
/** Where addresses stand in a network header: source, destination. */
const ADDRESSES = { 4: { in: 12, out: 16 }, 16: { in: 8, out: 24 } } as const;
const PORTS = { source: 0, destination: 2 } as const;
const TCP_FLAGS = 13;
const SYN = 0x02;
const ACK = 0x10;
const DNS = 53;
const DHCP = { server: 67, client: 68 } as const;
const FRAGMENTATION_NEEDED = Uint8Array.of(3, 4);
/** ICMPv6 types, RFC 4443, 4861 and 3810. */
const ICMPV6 = {
  in: { 'packet too big': 2, 'multicast query': 130, 'neighbour solicitation': 135, 'neighbour advertisement': 136 },
  out: { 'neighbour solicitation': 135, 'neighbour advertisement': 136, 'multicast report': 143 },
  routers: { in: { 'router advertisement': 134 }, out: { 'router solicitation': 133 } },
} as const;
/** First port of clients: no client has a port below it. */
const FIRST_CLIENT_PORT = 32768;

/**
 * Installs the firewall in place of the one before, in one step, and compares the kernel's rules
 * with it.
 *
 * @throws LinuxError if the kernel refuses it, or shows anything else.
 */
export function installFirewall(plan: FirewallPlan): number {
  const rules = firewallRules(plan);
  const chains: Chain[] = (['input', 'forward', 'output'] as const).map((hook) => ({
    hook,
    rules: rules.filter((rule) => rule.hook === hook).map(({ when }) => when),
  }));
  replaceTable(TABLE, chains);
  return rules.length;
}

/** The rules of a plan. */
export function firewallRules({ service, dhcp, ipv6, egress }: FirewallPlan): FirewallRule[] {
  return [
    { hook: 'input', what: 'loopback', when: interfaceIs('inputName', 'lo') },
    { hook: 'output', what: 'loopback', when: interfaceIs('outputName', 'lo') },
    { hook: 'input', what: 'the service', when: [...tcp('destination', service)] },
    { hook: 'output', what: 'answers of the service', when: [...tcp('source', service), ...goingOn()] },
    {
      hook: 'input',
      what: 'that a path takes smaller packets (ICMP 3.4)',
      when: [...family('ipv4'), ...protocol('icmp'), header('transport', 0, 2), compare('equal', FRAGMENTATION_NEEDED)],
    },
    ...(dhcp ? dhcpRules() : []),
    ...(ipv6 === 'off' ? [] : icmpv6Rules(ICMPV6)),
    ...(ipv6 === 'routers' ? icmpv6Rules(ICMPV6.routers) : []),
    ...(egress === null ? [] : egressRules(egress)),
  ];
}

function dhcpRules(): FirewallRule[] {
  const { server, client } = DHCP;
  return [
    {
      hook: 'input',
      what: 'DHCP, to a client',
      when: [...family('ipv4'), ...udp('source', server), ...port('destination', client)],
    },
    {
      hook: 'output',
      what: 'DHCP, by the supervisor',
      when: [...family('ipv4'), ...udp('destination', server), ...port('source', client), ...user(0)],
    },
  ];
}

function icmpv6Rules(types: Readonly<Record<'in' | 'out', Readonly<Record<string, number>>>>): FirewallRule[] {
  const rules = (hook: FirewallRule['hook'], named: Readonly<Record<string, number>>): FirewallRule[] =>
    Object.entries(named).map(([what, type]) => ({
      hook,
      what: `ICMPv6 ${what}`,
      when: [
        ...family('ipv6'),
        ...protocol('icmpv6'),
        header('transport', 0, 1),
        compare('equal', Uint8Array.of(type)),
      ],
    }));
  return [...rules('input', types.in), ...rules('output', types.out)];
}

function egressRules({ user: uid, ports, resolvers }: NonNullable<FirewallPlan['egress']>): FirewallRule[] {
  const connection = (to: string, number: number, at?: Uint8Array): FirewallRule[] => [
    {
      hook: 'output',
      what: `a connection to ${to}, by the runtime`,
      when: [...place('out', at), ...tcp('destination', number), ...user(uid)],
    },
    {
      hook: 'output',
      what: `more of a connection to ${to}`,
      when: [...place('out', at), ...tcp('destination', number), ...goingOn()],
    },
    { hook: 'input', what: `answers of ${to}`, when: [...place('in', at), ...tcp('source', number), ...goingOn()] },
  ];
  return [
    ...ports.flatMap((number) => connection(`port ${number}`, number)),
    ...resolvers.flatMap((at): FirewallRule[] => [
      ...connection('a name server', DNS, at),
      {
        hook: 'output',
        what: 'a question to a name server, by the runtime',
        when: [...place('out', at), ...udp('destination', DNS), ...user(uid)],
      },
      {
        hook: 'input',
        what: 'an answer of a name server, to a client',
        when: [
          ...place('in', at),
          ...udp('source', DNS),
          header('transport', PORTS.destination, 2),
          compare('atLeast', u16be(FIRST_CLIENT_PORT)),
        ],
      },
    ]),
  ];
}

function interfaceIs(key: 'inputName' | 'outputName', name: string): Expression[] {
  const bytes = new Uint8Array(NAME_LENGTH);
  bytes.set(utf8(name));
  return [meta(key), compare('equal', bytes)];
}

function family(name: keyof typeof FAMILY): Expression[] {
  return [meta('family'), compare('equal', Uint8Array.of(FAMILY[name]))];
}

function protocol(name: keyof typeof PROTOCOL): Expression[] {
  return [meta('protocol'), compare('equal', Uint8Array.of(PROTOCOL[name]))];
}

function tcp(side: keyof typeof PORTS, number: number): Expression[] {
  return [...protocol('tcp'), ...port(side, number)];
}

function udp(side: keyof typeof PORTS, number: number): Expression[] {
  return [...protocol('udp'), ...port(side, number)];
}

function port(side: keyof typeof PORTS, number: number): Expression[] {
  return [header('transport', PORTS[side], 2), compare('equal', u16be(number))];
}

/** A segment that begins no connection. */
function goingOn(): Expression[] {
  return [
    header('transport', TCP_FLAGS, 1),
    masked(Uint8Array.of(SYN | ACK)),
    compare('different', Uint8Array.of(SYN)),
  ];
}

/**
 * Condition: sent by a socket of this user. The kernel's own segments have no user, and neither
 * have those of a socket that is closed already.
 */
function user(uid: number): Expression[] {
  const value = Buffer.alloc(4);
  value.writeUInt32LE(uid);
  return [meta('user'), compare('equal', value)];
}

/** Condition: from or to an address; without an address, from or to anywhere. */
function place(direction: 'in' | 'out', address?: Uint8Array): Expression[] {
  if (address === undefined) return [];
  const length = address.length === 4 ? 4 : 16;
  return [
    ...family(length === 4 ? 'ipv4' : 'ipv6'),
    header('network', ADDRESSES[length][direction], length),
    compare('equal', address),
  ];
}

function u16be(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 255);
}
