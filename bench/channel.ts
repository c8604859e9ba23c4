/**
 * Channels that the flow rules leave open, by what they carry: `node bench/channel.ts [bits]`. A
 * handler has read a secret that it may not return, and tells it by something else; a receiver
 * guesses. Bandwidth is what a binary channel with the errors that were seen can carry (1 − H(p)),
 * per second.
 *
 * - time: how long the call takes, one at a time over TLS and HTTP/2 on this computer, which is the
 *   best place to listen from.
 * - room: whether a collection has any, which a call that has not read the secret finds out by
 *   writing to it.
 *
 * Channels of one bit per call without noise (which refusal, which label) carry what calls there
 * are: see bench/call.ts.
 */

import { once } from 'node:events';
import { type ClientHttp2Session, connect } from 'node:http2';
import { cpus } from 'node:os';
import { makeBootKeys } from '../runtime/src/boot/keys.ts';
import { AttestedServer } from '../runtime/src/channel/server.ts';
import { openLab } from '../test/support/lab.ts';

const BITS = Number(process.argv[2] ?? 2000);
const TRAINING = 200;
/** Turns of a loop that tell a one, around what the noise of a call is. */
const SPINS = [10_000, 100_000, 400_000, 1_500_000, 6_000_000] as const;

const secret = Array.from({ length: BITS + TRAINING }, () => (Math.random() < 0.5 ? 0 : 1));
/**
 * Bytes left of the callers' share of the collection `open` (16 MiB) once it was filled, and the
 * bytes of them that one bit takes.
 */
const ROOM = 120_000;
const BIT = 100_000;
/** Bytes that a place is counted for beside its value, about. */
const PLACE = 1000;
const FILLS = [...Array.from({ length: 66 }, () => 250_000), 16 * 1024 * 1024 - 66 * (250_000 + PLACE) - ROOM];

/** Actions of `Sum`, by the first word of the key; `time` has read the secret by then. */
const ACTS = {
  fill: "await ctx.store.open.put('f' + at, 'x'.repeat(size))",
  probe: "await ctx.store.open.put('p', 'x'.repeat(size))",
  time: 'let n = 0; if (bit()) for (let i = 0; i < size; i++) n = (n * 31 + i) | 0; return { count: n }',
};

const lab = await openLab({
  policy: { open: ['personal', 'operational'] },
  handlers: {
    Put: "await ctx.store.cases.put('secret', { text: request.text }); return {}",
    // Answers with what it reads, for another method would store nothing after that.
    Read: `const [at, size] = request.key.split('/').map(Number);
      const { text } = await ctx.store.cases.get('secret');
      await ctx.store.open.put('b', 'x'.repeat(text[at] === '1' ? size : 0)); return {}`,
    Sum: `const [act, at, size] = request.key.split('/').map((word) => Number(word) || word);
      const secret = act === 'time' ? (await ctx.store.cases.get('secret')).text : '';
      const bit = () => secret[Number(at)] === '1';
      switch (act) { ${Object.entries(ACTS)
        .map(([name, body]) => `case '${name}': { ${body}; break; }`)
        .join(' ')} } return {}`,
  },
});
await lab.call('Put', { key: 'secret', text: secret.join('') });
const keys = makeBootKeys();
const tls = { key: keys.tls.key, certificate: keys.certificate(new Uint8Array()) };
const server = new AttestedServer({ tls, admission: lab.admission, calls: lab.calls, attested: {} as never });
const session = connect(`https://127.0.0.1:${await server.listen('127.0.0.1', 0)}`, { rejectUnauthorized: false });
await once(session, 'connect');

/** Milliseconds of one call, whatever it answers. */
async function timed(on: ClientHttp2Session, key: string): Promise<number> {
  const message = Buffer.concat([Buffer.of(0x0a, key.length), Buffer.from(key)]);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  const headers = { 'content-type': 'application/grpc', te: 'trailers' };
  const began = performance.now();
  const stream = on.request({ ':method': 'POST', ':path': '/lab.v1.Lab/Sum', ...headers });
  stream.end(Buffer.concat([prefix, message]));
  stream.resume();
  await once(stream, 'end');
  return performance.now() - began;
}

/** Bits that a binary symmetric channel carries with each of its symbols. */
function capacity(errors: number): number {
  const p = Math.min(errors, 1 - errors);
  return p === 0 ? 1 : 1 + p * Math.log2(p) + (1 - p) * Math.log2(1 - p);
}

/** The threshold that tells most of what is known apart. */
function threshold(times: readonly number[], bits: readonly number[]): number {
  const errors = (at: number): number => times.filter((time, i) => (time > at ? 1 : 0) !== bits[i]).length;
  return times.reduce((best, at) => (errors(at) < errors(best) ? at : best), times[0] ?? 0);
}

console.log(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${BITS} bits`);
let best = 0;
for (const spins of SPINS) {
  const times: number[] = [];
  const began = performance.now();
  for (const at of secret.keys()) times.push(await timed(session, `time/${at}/${spins}`));
  const seconds = (performance.now() - began) / 1000;
  const limit = threshold(times.slice(0, TRAINING), secret.slice(0, TRAINING));
  const wrong =
    times.slice(TRAINING).filter((time, i) => (time > limit ? 1 : 0) !== secret[TRAINING + i]).length / BITS;
  const perSecond = (capacity(wrong) * secret.length) / seconds;
  best = Math.max(best, perSecond);
  const mean = (seconds * 1000) / secret.length;
  console.log(
    `time: ${String(spins).padStart(8)} turns, ${mean.toFixed(2)} ms a call, ${(wrong * 100).toFixed(1)} % wrong: ${perSecond.toFixed(0)} bit/s`,
  );
}
console.log(`time: at most ${best.toFixed(0)} bit/s seen`);

for (const [at, size] of FILLS.entries()) await lab.call('Sum', { key: `fill/${at}/${size}` });
const began = performance.now();
let wrong = 0;
for (const [at, bit] of secret.entries()) {
  await lab.call('Read', { key: `${at}/${BIT}` });
  const { status } = await lab.call('Sum', { key: `probe/0/${BIT / 2}` });
  // What found room is made small again; what found none has changed no value.
  if (status === 0) await lab.call('Sum', { key: 'probe/0/1' });
  if (Number(status !== 0) !== bit) wrong++;
}
const perSecond = (capacity(wrong / secret.length) * secret.length * 1000) / (performance.now() - began);
console.log(`room: ${wrong} of ${secret.length} wrong: ${perSecond.toFixed(0)} bit/s`);
session.destroy();
await server.close();
lab.close();
process.exit();
