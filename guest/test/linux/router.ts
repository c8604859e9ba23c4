/** A program: a router on eth0 that advertises what its argument says, five times a second (RFC 4861, 4.2 and 4.6). */
import { dlopen } from 'node:ffi';
import { readFileSync } from 'node:fs';
import { parseAddress6 } from '../../src/linux/ipv6.ts';

/** What it says. */
export interface Advertisement {
  /** Its own link-local address, which the interface must have. */
  readonly from: string;
  /** Seconds for which it is a router. */
  readonly lifetime?: number;
  /** Of 64 bits, to make addresses of. */
  readonly prefix?: string;
  /** Seconds for which they are good. */
  readonly valid?: number;
  /** 255 on the link; less has come from elsewhere. */
  readonly hops?: number;
  /** How far it wants others' packets to go. */
  readonly reach?: number;
}

const AF_INET6 = 10;
const SOCK_RAW = 3;
const IPPROTO_ICMPV6 = 58;
const IPPROTO_IPV6 = 41;
const IPV6_MULTICAST_HOPS = 18;

function encode({ lifetime = 1800, prefix = 'fd77::', valid = 86_400, reach = 64 }: Advertisement): Buffer {
  const message = Buffer.alloc(16 + 32 + 8);
  message.set([134, 0, 0, 0, reach]);
  message.writeUInt16BE(lifetime, 6);
  message.set([3, 4, 64, 0xc0], 16); // a prefix: on the link, and to make addresses of
  message.writeUInt32BE(valid, 20);
  message.writeUInt32BE(valid, 24);
  message.set(parseAddress6(prefix) ?? [], 32);
  message.set([5, 1, 0, 0, 0, 0, 5, 0], 48); // packets of 1280 bytes
  return message;
}

/** struct sockaddr_in6 on eth0. */
function address(text: string): Buffer {
  const bytes = Buffer.alloc(28);
  bytes[0] = AF_INET6;
  bytes.set(parseAddress6(text) ?? [], 8);
  const index = / (..) .. .. .. +eth0\n/.exec(readFileSync('/proc/net/if_inet6', 'latin1'))?.[1] ?? '';
  bytes.writeUInt32LE(Number.parseInt(index, 16), 24);
  return bytes;
}

if (import.meta.main) {
  const { functions: libc } = dlopen('libc.so.6', {
    socket: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
    setsockopt: { arguments: ['int32', 'int32', 'int32', 'buffer', 'uint32'], return: 'int32' },
    bind: { arguments: ['int32', 'buffer', 'uint32'], return: 'int32' },
    sendto: { arguments: ['int32', 'buffer', 'uint64', 'int32', 'buffer', 'uint32'], return: 'int64' },
  });
  const must = (result: number | bigint): number => {
    if (Number(result) < 0) throw new Error('a call of the router failed');
    return Number(result);
  };
  const how = JSON.parse(process.argv[2] ?? '') as Advertisement;
  const message = encode(how);
  const hops = Buffer.from(Uint32Array.of(how.hops ?? 255).buffer);
  const socket = must(libc.socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6));
  must(libc.setsockopt(socket, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, hops, hops.length));
  must(libc.bind(socket, address(how.from), 28));
  const everybody = address('ff02::1');
  // Nobody hears it while the other end is down, which is no failure.
  const say = (): void => void libc.sendto(socket, message, BigInt(message.length), 0, everybody, 28);
  setInterval(say, 200);
  say();
  console.log('saying');
}
