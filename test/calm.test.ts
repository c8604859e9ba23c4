/** Who abuses HTTP/2 is told to be calm, and goes; who calls beside it is answered; and nothing of it is kept. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startProxy } from '@enclaim/client/proxy';
import { ABUSES, abuse } from './hostile/abuse.ts';
import { block, CALL, FLAG, FRAME, frame, NOTE, RawConnection } from './hostile/raw-http2.ts';
import { type Served, serve } from './hostile/served.ts';
import { eventually } from './support/eventually.ts';
import { startPretendServer } from './support/pretend-server.ts';

const ENHANCE_YOUR_CALM = 11;
const HANG_MS = 120_000;

let served: Served;
before(async () => {
  served = await serve({
    Sum: 'return { key: request.key }',
    Watch: "const load = btoa('x'.repeat(60000)); for (;;) yield { load };",
    Collect: 'let count = 0; for await (const _ of request) count++; return { key: String(count) }',
  });
});
after(() => served.close());

const sockets = (): number => process.getActiveResourcesInfo().filter((name) => /TCP|TLS/.test(name)).length;

for (const [name, kind] of Object.entries(ABUSES)) {
  test(`${name}: the connection ends, an honest caller is answered, and nothing is left`, async () => {
    const honest = (await RawConnection.open(served.port)).greet();
    const before = sockets();
    let stream = -1;
    const call = async (): Promise<void> => {
      stream += 2;
      assert.notEqual(await honest.call(stream, CALL, NOTE, HANG_MS), undefined);
    };
    assert.deepEqual(await abuse(await RawConnection.open(served.port), kind, call), {
      welcome: false,
      error: ENHANCE_YOUR_CALM,
    });
    await call();
    for (let waited = 0; (sockets() > before || served.lab.pool.calls > 0) && waited < HANG_MS; waited += 20)
      await sleep(20);
    assert.equal(sockets(), before);
    assert.equal(served.lab.pool.calls, 0);
    assert.equal(honest.ended, false);
    honest.close();
  });
}

test('a client that calls, and for every call moves both windows and pings, is never told', async () => {
  const connection = (await RawConnection.open(served.port)).greet();
  const window = frame(FRAME.window, 0, 0, Buffer.of(0, 0, 0, 1));
  for (let stream = 1; stream < 2 * 400; stream += 2) {
    assert.notEqual(await connection.call(stream, CALL, NOTE, HANG_MS), undefined);
    connection.send(window, window, frame(FRAME.ping, 0, 0, Buffer.alloc(8)));
  }
  assert.equal(connection.ended, false);
  connection.close();
});

test('a client that streams messages without content is never told', async () => {
  const connection = (await RawConnection.open(served.port)).greet();
  const path = CALL.map(([name, value]) => [name, name === ':path' ? '/lab.v1.Lab/Collect' : value] as const);
  connection.send(frame(FRAME.headers, FLAG.endHeaders, 1, block(path)));
  // Four times as many as a connection starts with; their bytes fit into the windows that it starts with.
  connection.send(Buffer.concat(Array.from({ length: 4000 }, () => frame(FRAME.data, 0, 1, Buffer.alloc(5)))));
  connection.send(frame(FRAME.data, FLAG.endStream, 1));
  assert.notEqual(await connection.trailersOf(1, HANG_MS), undefined);
  assert.equal(connection.ended, false);
  connection.close();
});

test('a proxy tells the same, and what it held for those that it told is given back', async () => {
  const server = await startPretendServer();
  const proxy = await startProxy(server.target, {
    references: server.references,
    listen: { host: '127.0.0.1', port: 0 },
  });
  const port = Number(new URL(`tcp://${proxy.address}`).port);
  const honest = (await RawConnection.openPlain(port)).greet();
  try {
    for (const kind of Object.values(ABUSES)) {
      let stream = honest.frames.length === 0 ? 1 : Math.max(...honest.frames.map((each) => each.stream)) + 2;
      const call = async (): Promise<void> => {
        assert.notEqual(await honest.call(stream, CALL, NOTE, HANG_MS), undefined);
        stream += 2;
      };
      const before = sockets();
      const ended = await abuse(await RawConnection.openPlain(port), kind, call);
      assert.deepEqual(ended, { welcome: false, error: ENHANCE_YOUR_CALM });
      await call();
      await eventually('the end of its connection', () => sockets() <= before);
    }
    assert.equal(honest.ended, false);
  } finally {
    honest.close();
    await proxy.close();
    server.stop();
  }
});

test('a client that resets its connection ends that and nothing else of the proxy', async () => {
  const server = await startPretendServer();
  const proxy = await startProxy(server.target, {
    references: server.references,
    listen: { host: '127.0.0.1', port: 0 },
  });
  const port = Number(new URL(`tcp://${proxy.address}`).port);
  const faults: unknown[] = [];
  const fault = (error: unknown): void => void faults.push(error);
  process.on('uncaughtException', fault);
  try {
    for (let turn = 0; turn < 20; turn++) {
      const rude = (await RawConnection.openPlain(port)).greet();
      await rude.settled();
      rude.socket.resetAndDestroy();
    }
    const honest = (await RawConnection.openPlain(port)).greet();
    assert.notEqual(await honest.call(1, CALL, NOTE, HANG_MS), undefined);
    honest.close();
    assert.deepEqual(faults, []);
  } finally {
    process.off('uncaughtException', fault);
    await proxy.close();
    server.stop();
  }
});
