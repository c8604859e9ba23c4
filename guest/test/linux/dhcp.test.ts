/**
 * A lease is read as RFC 2131 writes it; whatever else a server answers is stepped over or
 * refused.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { concat, u32be } from '@enclaim/attestation/bytes';
import { DecodeError } from '@enclaim/attestation/errors';
import { fc } from '../../../test/support/properties.ts';
import { type DhcpExchange, negotiate, renewLease } from '../../src/linux/dhcp.ts';
import { type DhcpReply, encodeRequest, parseReply } from '../../src/linux/dhcp-message.ts';

const HARDWARE = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const ASKED = { id: 0xdeadbeef, hardware: HARDWARE };

type Options = Readonly<Record<number, readonly number[]>>;
const ACK: Options = {
  53: [5],
  54: [10, 0, 2, 2],
  1: [255, 255, 255, 0],
  3: [10, 0, 2, 2],
  6: [10, 0, 2, 3],
  51: [0, 1, 81, 128],
};

/** A server's reply, field by field, so that each test can spoil one. */
function reply({
  id = ASKED.id,
  hardware = HARDWARE,
  address = 0x0a00020f,
  op = 2,
  hardwareType = 1,
  hardwareLength = 6,
  magic = 0x63825363,
  options = ACK as Options,
  tail = [255],
} = {}): Uint8Array {
  const header = new Uint8Array(236);
  header.set([op, hardwareType, hardwareLength, 0]);
  header.set(u32be(id), 4);
  header.set(u32be(address), 16);
  header.set(hardware, 28);
  const encoded = Object.entries(options).flatMap(([code, value]) => [Number(code), value.length, ...value]);
  return concat(header, u32be(magic), Uint8Array.from([...encoded, ...tail]));
}

test('asks in the form of RFC 2131', () => {
  const bytes = Buffer.from(
    encodeRequest({ type: 'request', ...ASKED, seconds: 3, address: 0x0a00020f, server: 0x0a000202 }),
  );
  assert.equal(bytes.length, 300);
  assert.equal(bytes.subarray(0, 12).toString('hex'), '01010600deadbeef00038000'); // broadcast flag
  assert.equal(bytes.subarray(28, 44).toString('hex'), `525400123456${'00'.repeat(10)}`);
  assert.equal(
    bytes.subarray(236, 265).toString('hex'),
    '63825363' + '350103' + '32040a00020f' + '36040a000202' + '3703010306' + 'ff' + '00000000',
  );
});

test('reads a lease', () => {
  assert.deepEqual(parseReply(reply(), ASKED), {
    type: 'ack',
    address: 0x0a00020f,
    prefix: 24,
    gateway: 0x0a000202,
    server: 0x0a000202,
    seconds: 86400,
    dns: [0x0a000203],
  });
  assert.deepEqual(parseReply(reply({ options: { 53: [6] } }), ASKED), { type: 'nak' });
});

test('a lease without gateway and with name servers that are none', () => {
  const { 3: _, ...options } = ACK;
  const lease = parseReply(reply({ options: { ...options, 6: [127, 0, 0, 1, 8, 8, 8, 8] } }), ASKED);
  assert.deepEqual(lease.type === 'ack' && [lease.gateway, lease.dns], [null, [0x08080808]]);
});

test('what it did not ask for is stepped over: routes, a time server, a boot file, a packet size, the longest option', () => {
  const noise = {
    121: [0, 10, 0, 2, 9],
    33: [8, 8, 8, 8, 10, 0, 2, 9],
    42: [1, 1, 1, 1],
    67: [47],
    26: [0, 68],
    252: Array(255).fill(7),
  };
  const lease = parseReply(reply({ options: { ...ACK, ...noise } }), ASKED);
  assert.deepEqual(lease, parseReply(reply(), ASKED));
});

test('forty name servers are four', () => {
  const lease = parseReply(reply({ options: { ...ACK, 6: Array(160).fill(9) } }), ASKED);
  assert.equal(lease.type === 'ack' && lease.dns.length, 4);
});

test('an endless lease is renewed once a day, a short one once a minute', async (t) => {
  const waits: (number | undefined)[] = [];
  t.mock.method(globalThis, 'setInterval', (_: unknown, ms: number) => void waits.push(ms));
  for (const seconds of [2 ** 32 - 1, 1, 7200]) renewLease('none', HARDWARE, { ...ack, seconds });
  assert.deepEqual(waits, [86_400_000, 60_000, 3_600_000]);
});

const REFUSED: readonly (readonly [string, Uint8Array])[] = [
  ['another transaction', reply({ id: 1 })],
  ['another interface', reply({ hardware: Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x57) })],
  ['a request', reply({ op: 1 })],
  ['address 0.0.0.0', reply({ address: 0 })],
  ['a loopback address', reply({ address: 0x7f000001 })],
  ['a multicast address', reply({ address: 0xe0000001 })],
  ['no message type', reply({ options: { 1: [255, 255, 255, 0] } })],
  ['another message type', reply({ options: { ...ACK, 53: [1] } })],
  ['no mask', reply({ options: { 53: [5], 54: [10, 0, 2, 2], 51: [0, 0, 0, 9] } })],
  ['a mask with a hole', reply({ options: { ...ACK, 1: [255, 0, 255, 0] } })],
  ['a mask of all addresses', reply({ options: { ...ACK, 1: [0, 0, 0, 0] } })],
  ['a short mask', reply({ options: { ...ACK, 1: [255, 255] } })],
  ['two masks', reply({ options: { ...ACK, 1: [255, 255, 255, 0, 255, 255, 255, 0] } })],
  ['a lease of no time', reply({ options: { ...ACK, 51: [0, 0, 0, 0] } })],
  ['no server', reply({ options: { 53: [5], 1: [255, 255, 255, 0], 51: [0, 0, 0, 9] } })],
  ['a loopback gateway', reply({ options: { ...ACK, 3: [127, 0, 0, 1] } })],
  ['an empty router option', reply({ options: { ...ACK, 3: [] } })],
  ['an option twice', reply({ tail: [53, 1, 5, 255] })],
  ['options elsewhere', reply({ tail: [52, 1, 3, 255] })],
  ['no end', reply({ tail: [] })],
  ['an option beyond the end', reply({ tail: [99, 200, 1] })],
  ['another kind of hardware', reply({ hardwareType: 32 })],
  ['a shorter hardware address', reply({ hardwareLength: 5 })],
  ['a longer hardware address', reply({ hardwareLength: 17 })],
  ['no magic', reply({ magic: 0x63825364 })],
  ['BOOTP, without options', concat(reply().subarray(0, 236))],
  ['a message type of two bytes', reply({ options: { ...ACK, 53: [5, 2] } })],
  ['a message type of none', reply({ options: { ...ACK, 53: [] } })],
  ['a lease time of two bytes', reply({ options: { ...ACK, 51: [1, 0] } })],
  ['two lease times', reply({ options: { ...ACK, 51: [0, 0, 1, 0, 0, 0, 1, 0] } })],
  ['no lease time', reply({ options: { 53: [5], 54: [10, 0, 2, 2], 1: [255, 255, 255, 0] } })],
  ['an empty mask', reply({ options: { ...ACK, 1: [] } })],
  ['a server that no host is', reply({ options: { ...ACK, 54: [0, 0, 0, 0] } })],
  ['two servers', reply({ options: { ...ACK, 54: [10, 0, 2, 2, 10, 0, 2, 3] } })],
  ['a router of three bytes', reply({ options: { ...ACK, 3: [10, 0, 2] } })],
  ['a multicast router', reply({ options: { ...ACK, 3: [224, 0, 0, 1] } })],
  ['name servers of five bytes', reply({ options: { ...ACK, 6: [8, 8, 8, 8, 8] } })],
  ['an option whose length is the end', reply({ tail: [99] })],
  ['the broadcast address', reply({ address: 0xffffffff })],
  ['too many bytes', concat(reply(), new Uint8Array(1500))],
];

for (const [name, bytes] of REFUSED) {
  test(`refuses ${name}`, () => {
    assert.throws(() => parseReply(bytes, ASKED), DecodeError);
  });
}

test('any bytes are a reply or a DecodeError', () => {
  const total = (bytes: Uint8Array): void => {
    try {
      parseReply(bytes, ASKED);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 1600 }), total));
  const options = fc.uint8Array({ maxLength: 200 }).map((tail) => reply({ options: {}, tail: [...tail] }));
  fc.assert(fc.property(options, total), { numRuns: 2000 });
  for (let length = 0; length < reply().length; length++)
    assert.throws(() => parseReply(reply().subarray(0, length), ASKED), DecodeError);
});

/** A server made of a list: the n-th request gets the n-th answer, if the client accepts it. */
function server(answers: readonly (DhcpReply | undefined)[]): { exchange: DhcpExchange; asked: string[] } {
  const asked: string[] = [];
  const exchange: DhcpExchange = async ({ type, address }, accepts) => {
    const answer = answers[asked.length];
    asked.push(address === undefined ? type : `${type} ${address}`);
    return answer !== undefined && accepts(answer) ? answer : undefined;
  };
  return { exchange, asked };
}

const offer = { ...(parseReply(reply(), ASKED) as Extract<DhcpReply, { address: number }>), type: 'offer' } as const;
const ack = { ...offer, type: 'ack' } as const;

test('asks again after silence, a refusal, or an acknowledgement of something else', async () => {
  const other = { ...ack, address: 0x0a000210 };
  const { exchange, asked } = server([undefined, offer, { type: 'nak' }, offer, other, ack, offer, ack]);
  assert.deepEqual(await negotiate(exchange, HARDWARE), ack);
  const ask = `request ${offer.address}`;
  assert.deepEqual(asked, ['discover', 'discover', ask, 'discover', ask, 'discover', 'discover', ask]);
});

test('gives up', async () => {
  await assert.rejects(negotiate(server([]).exchange, HARDWARE), { name: 'LinuxError', code: 'ETIMEDOUT' });
});
