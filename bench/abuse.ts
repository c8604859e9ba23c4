/**
 * `node bench/abuse.ts [CALLS]`: cost to an honest caller of one that abuses HTTP/2 beside it.
 *
 * Server, abuser and honest caller are a process each; the abuser connects anew each time it is
 * told to be calm. Figures are latencies of one call at a time, each kind against the control of
 * the same run. Controls come first and last: no process beside the honest caller, and an abuser's
 * process that only spins, because a neighbour costs that on these processors whatever it sends.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpus } from 'node:os';
import { ABUSES, abuse } from '../test/hostile/abuse.ts';
import { CALL, NOTE, RawConnection } from '../test/hostile/raw-http2.ts';
import { serve } from '../test/hostile/served.ts';

const [, , role = '500', port = '', kind = ''] = process.argv;
const HANG_MS = 120_000;

if (role === 'server') await runServer();
else if (role === 'abuser') await runAbuser(Number(port), kind);
else await measure(Number(role));

async function runServer(): Promise<void> {
  const served = await serve({
    Sum: 'return { key: request.key }',
    Watch: "const load = btoa('x'.repeat(60000)); for (;;) yield { load };",
  });
  console.log(served.port);
}

async function runAbuser(at: number, name: string): Promise<void> {
  console.log('begins');
  for (const known = ABUSES[name]; ; ) {
    if (known === undefined) spin();
    else
      await RawConnection.open(at)
        .then((connection) => abuse(connection, known))
        .catch(() => {});
  }
}

function spin(): void {
  for (;;);
}

/** Starts this file in another role, and waits for its first line. */
async function start(...words: string[]): Promise<{ line: string; stop: () => void }> {
  const child = spawn(process.execPath, [import.meta.filename, ...words], { stdio: ['ignore', 'pipe', 'ignore'] });
  const [line] = await once(child.stdout, 'data');
  return { line: String(line).trim(), stop: () => child.kill('SIGKILL') };
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

async function measure(count: number): Promise<void> {
  const server = await start('server');
  const at = Number(server.line);
  try {
    await callsAt(at, count); // warms it
    const quantile = (took: readonly number[], part: number): number => took[Math.floor(part * took.length)] ?? 0;
    let control: readonly number[] = [];
    const row = (name: string, took: readonly number[]): void => {
      const [p50, p99] = [quantile(took, 0.5), quantile(took, 0.99)];
      const ratio = p99 / quantile(control, 0.99);
      console.log(`| ${name} | ${p50.toFixed(2)} | ${p99.toFixed(2)} | ${ratio.toFixed(1)} × |`);
    };
    console.log(`${count} calls each, Node ${process.version}, ${cpus().length} processors\n`);
    console.log('| beside it | p50 ms | p99 ms | p99 against nobody |\n| --- | --- | --- | --- |');
    control = await callsAt(at, count);
    row('nobody', control);
    for (const name of ['a process that spins', ...Object.keys(ABUSES), 'a process that spins']) {
      const abuser = await start('abuser', String(at), name);
      row(name, await callsAt(at, count));
      abuser.stop();
    }
    row('nobody', await callsAt(at, count));
  } finally {
    server.stop();
  }
}
