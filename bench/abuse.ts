/**
 * `node bench/abuse.ts [CALLS]`: cost to an honest caller of one that abuses HTTP/2 beside it, and
 * what the server keeps of it.
 *
 * Server, abuser and honest caller are a process each; the abuser connects anew each time it is
 * told to be calm. Latencies are of one call at a time, each kind against the controls of the same
 * run. Controls come first and last: no process beside the honest caller, and an abuser's process
 * that only spins, because a neighbour costs that on these processors whatever it sends. Memory is
 * the server's: resident while the abuser is there, and what it holds afterwards, collected.
 */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { ABUSES, abuse } from '../test/hostile/abuse.ts';
import { block, CALL, FLAG, FRAME, frame, NOTE, RawConnection, setting } from '../test/hostile/raw-http2.ts';
import { serve } from '../test/hostile/served.ts';

const [, , role = '500', port = '', kind = ''] = process.argv;
const HANG_MS = 120_000;
/** Half of what a connection of the server may have open. */
const STREAMS = 32;
const WIDE = 0x7fff_ffff;
/** The honest caller without a neighbour. */
const ALONE = 'no neighbour';
const SPINS = 'a process that spins';

/** First frames of abusers who then stay for a while, instead of sending ever more. */
const STAYING: Readonly<Record<string, (connection: RawConnection) => void>> = {
  'answers that the abuser never takes': (connection) => {
    connection.greet(setting(4, WIDE)).send(frame(FRAME.window, 0, 0, Buffer.of(0x7f, 0, 0, 0)), watching());
    connection.socket.pause();
  },
  'answers with windows of nothing': (connection) => {
    connection.greet(setting(4, 0)).answerPings().send(watching());
  },
};
/** Shorter than the server bears it. */
const STAYS_MS = 3000;
const KINDS = [...Object.keys(ABUSES), ...Object.keys(STAYING)];

if (role === 'server') await runServer();
else if (role === 'abuser') await runAbuser(Number(port), kind);
else await measure(Number(role));

/** Calls whose answers do not end. */
function watching(): Buffer {
  const request = block(CALL.map(([name, value]) => [name, name === ':path' ? '/lab.v1.Lab/Watch' : value]));
  const streams = Array.from({ length: STREAMS }, (_, at) => 1 + 2 * at);
  return Buffer.concat(
    streams.flatMap((stream) => [
      frame(FRAME.headers, FLAG.endHeaders, stream, request),
      frame(FRAME.data, FLAG.endStream, stream, NOTE),
    ]),
  );
}

/** Says its port, and whenever it is asked the bytes that it holds. */
async function runServer(): Promise<void> {
  const served = await serve({
    Sum: 'return { key: request.key }',
    Watch: "const load = btoa('x'.repeat(60000)); for (;;) yield { load };",
  });
  process.on('message', () => {
    globalThis.gc?.();
    const { heapUsed, external } = process.memoryUsage();
    process.send?.(heapUsed + external);
  });
  process.send?.(served.port);
}

async function runAbuser(at: number, name: string): Promise<void> {
  process.send?.('begins');
  if (name === SPINS) for (;;);
  for (;;) await abuseOnce(at, name).catch(() => {});
}

async function abuseOnce(at: number, name: string): Promise<void> {
  const connection = await RawConnection.open(at);
  const known = ABUSES[name];
  if (known !== undefined) {
    await abuse(connection, known);
    return;
  }
  STAYING[name]?.(connection);
  await Promise.race([connection.over, sleep(STAYS_MS)]);
  connection.close();
}

/** Starts this file in another role; its first word. */
async function start(...words: string[]): Promise<{ readonly child: ChildProcess; readonly said: unknown }> {
  const child = fork(import.meta.filename, words, {
    execArgv: ['--expose-gc'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [said] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`${words.join(' ')} ended with ${code}`))),
  ]);
  return { child, said };
}

/** Milliseconds of each of a number of calls, sorted. */
async function callsAt(at: number, count: number): Promise<number[]> {
  const honest = (await RawConnection.open(at)).greet();
  const took: number[] = [];
  for (let stream = 1; took.length < count; stream += 2) {
    const began = performance.now();
    if ((await honest.call(stream, CALL, NOTE, HANG_MS)) === undefined) throw new Error('a call was not answered');
    took.push(performance.now() - began);
  }
  honest.close();
  return took.sort((one, other) => one - other);
}

/** MiB that a process has resident. */
function residentOf({ pid }: ChildProcess): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]) / 1024;
}

/** MiB that the server holds, collected. */
async function heldBy(server: ChildProcess): Promise<number> {
  server.send('collect');
  const [bytes] = await once(server, 'message');
  return (bytes as number) / 2 ** 20;
}

async function measure(count: number): Promise<void> {
  const { child: server, said } = await start('server');
  const at = Number(said);
  try {
    await callsAt(at, count); // warms it
    const quantile = (took: readonly number[], part: number): number => took[Math.floor(part * took.length)] ?? 0;
    console.log(`${count} calls each, Node ${process.version}, ${availableParallelism()} processors\n`);
    console.log(
      '| beside it | p50 ms | p99 ms | p99 against no neighbour | against one that spins | MiB there | held after |',
    );
    console.log('| --- | --- | --- | --- | --- | --- | --- |');
    let [alone, spun] = [Number.NaN, Number.NaN];
    const row = async (name: string): Promise<void> => {
      const abuser = name === ALONE ? undefined : (await start('abuser', String(at), name)).child;
      const took = await callsAt(at, count);
      const resident = residentOf(server);
      if (abuser !== undefined) {
        if (abuser.exitCode !== null) throw new Error(`the abuser ended with ${abuser.exitCode}: ${name}`);
        const ended = once(abuser, 'exit');
        abuser.kill('SIGKILL');
        await ended;
      }
      const [p50, p99] = [quantile(took, 0.5), quantile(took, 0.99)];
      if (name === ALONE && Number.isNaN(alone)) alone = p99;
      if (name === SPINS && Number.isNaN(spun)) spun = p99;
      const times = [p99 / alone, p99 / spun].map((ratio) => (Number.isNaN(ratio) ? '' : `${ratio.toFixed(1)} ×`));
      const memory = [resident, await heldBy(server)].map((mib) => mib.toFixed(0));
      console.log(`| ${[name, p50.toFixed(2), p99.toFixed(2), ...times, ...memory].join(' | ')} |`);
    };
    for (const name of [ALONE, SPINS, ...KINDS, SPINS, ALONE]) await row(name);
  } finally {
    server.kill('SIGKILL');
  }
}
