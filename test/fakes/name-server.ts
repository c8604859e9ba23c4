/** A name server in software: it has the same addresses for every name. */

import { createSocket } from 'node:dgram';

/** A running one. */
export interface FakeNameServer {
  /** `127.0.0.1:port`. */
  readonly address: string;
  /** Names that were asked for. */
  readonly asked: ReadonlySet<string>;
  stop(): void;
}

const HEADER = 12;
const ANSWER = 0x8180; // a response, recursion desired and available
const A = 1;

/**
 * Starts one on this machine's loopback.
 * @param addresses IPv4, asked for anew at each question
 */
export async function startNameServer(addresses: () => readonly string[], port = 0): Promise<FakeNameServer> {
  const socket = createSocket('udp4');
  const asked = new Set<string>();
  socket.on('message', (query, from) => {
    const end = query.indexOf(0, HEADER);
    asked.add(nameIn(query));
    const isIpv4 = query.readUInt16BE(end + 1) === A;
    const records = (isIpv4 ? addresses() : []).map((one) =>
      // A pointer to the question's name, type A, class IN, no time to live, four bytes.
      Buffer.from([0xc0, HEADER, 0, A, 0, 1, 0, 0, 0, 0, 0, 4, ...one.split('.').map(Number)]),
    );
    const header = Buffer.from(query.subarray(0, HEADER));
    header.writeUInt16BE(ANSWER, 2);
    header.writeUInt16BE(records.length, 6);
    header.writeUInt16BE(0, 10); // nothing additional: no EDNS
    socket.send(Buffer.concat([header, query.subarray(HEADER, end + 5), ...records]), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(port, '127.0.0.1', resolve));
  return { address: `127.0.0.1:${socket.address().port}`, asked, stop: () => void socket.close() };
}

function nameIn(query: Buffer): string {
  const labels: string[] = [];
  for (let at = HEADER, length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return labels.join('.');
}
