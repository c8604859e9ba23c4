/**
 * `node bench/egress.ts`: the cost of a message to a subprocessor, on this machine's loopback, and
 * how fast a handler can say bits by releases.
 */

import { EgressBroker } from '../runtime/src/egress/broker.ts';
import { startSubprocessor } from '../test/fakes/subprocessor.ts';
import { openLab } from '../test/support/lab.ts';

const MESSAGES = 300;
const CALLS = 2000;
const AT_ONCE = 16;

const there = await startSubprocessor();
const mailer = {
  address: `https://mail.example:${there.port}`,
  identity: { spki: [there.spki] },
  region: 'r',
  receives: ['personal', 'operational'],
  calls: ['lab.v1.Mail/Send', 'POST /v1/drop', 'lab.v1.Mail/Ask', 'POST /v1/post'],
};

/** Median milliseconds of an action done `MESSAGES` times, one after the other. */
async function median(action: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < MESSAGES; i++) {
    const start = performance.now();
    await action();
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[MESSAGES / 2] ?? Number.NaN;
}

const subprocessors = { mailer: { ...mailer, description: '', assurance: 'none' as const } };
const broker = new EgressBroker({ subprocessors, resolve: async () => ['127.0.0.1'], now: Date.now });
const { signal } = new AbortController();
const body = Buffer.from('{}');
const http = await median(() => broker.send('mailer', { verb: 'POST', path: '/' }, body, signal));
const grpc = await median(() => broker.send('mailer', 't.Mail/Send', Buffer.alloc(0), signal));
console.log(`one message with its own TLS connection: HTTP ${http.toFixed(1)} ms, gRPC ${grpc.toFixed(1)} ms`);

const release = { method: 'lab.v1.Lab/Tell', to: 'mailer', call: 'POST /', owner: 'lab', justification: 'bench' };
const lab = await openLab({
  handlers: { Tell: 'if (request.key === "1") await ctx.release.bit(); return {}' },
  policy: { subprocessors: { mailer }, declassify: [{ id: 'bit', build: { template: 'x' }, ...release }] },
});
const before = there.received.length;
const start = performance.now();
let next = 0;
const caller = async (): Promise<void> => {
  while (next < CALLS) {
    const { status, message } = await lab.call('Tell', { key: String(next++ % 2) });
    if (status !== 0) throw new Error(message);
  }
};
await Promise.all(Array.from({ length: AT_ONCE }, caller));
const seconds = (performance.now() - start) / 1000;
lab.close();
await there.stop();
const rate = CALLS / seconds;
console.log(
  `${CALLS} calls, ${there.received.length - before} of them releasing: ${rate.toFixed(0)} calls, so ${rate.toFixed(0)} bits, per second`,
);
