/** Storms: connections that are cut at every stage, and garbage, while an honest caller is answered; and nothing of them is kept. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { block, CALL, FLAG, FRAME, frame, NOTE, RawConnection } from './hostile/raw-http2.ts';
import { type Served, serve } from './hostile/served.ts';
import { eventually } from './support/eventually.ts';

const STORM = 200;

let served: Served;
before(async () => {
  served = await serve({ Sum: 'return { key: request.key }', Watch: 'await new Promise(() => {})' });
});
after(() => served.close());

/** What a connection does before it is cut. */
const CUTS: Readonly<Record<string, (port: number) => Promise<void>>> = {
  'before a byte': async (port) => {
    const socket = createConnection(port, '127.0.0.1').on('error', () => {});
    await once(socket, 'connect');
    socket.resetAndDestroy();
  },
  'after garbage': async (port) => {
    const socket = createConnection(port, '127.0.0.1').on('error', () => {});
    socket.write(randomBytes(2000));
    await Promise.race([once(socket, 'close'), sleep(2000)]);
    socket.resetAndDestroy();
  },
  'in the TLS handshake': async (port) => {
    const raw = createConnection(port, '127.0.0.1').on('error', () => {});
    connectTls({ socket: raw, rejectUnauthorized: false }).on('error', () => {});
    await once(raw, 'connect');
    await sleep(Math.random() * 5);
    raw.resetAndDestroy();
  },
  'in the handshake of evidence': async (port) => {
    const connection = await RawConnection.open(port, { ALPNProtocols: ['enclaim-h2'] });
    connection.send(Buffer.from([0, 0, 0, 40, 1]));
    connection.close();
  },
  'in a call': async (port) => {
    const connection = (await RawConnection.open(port)).greet();
    const watch = CALL.map(([name, value]) => [name, name === ':path' ? '/lab.v1.Lab/Watch' : value] as const);
    connection.send(frame(FRAME.headers, FLAG.endHeaders, 1, block(watch)), frame(FRAME.data, FLAG.endStream, 1, NOTE));
    await sleep(Math.random() * 20);
    connection.close();
  },
  'in a frame': async (port) => {
    const connection = (await RawConnection.open(port)).greet();
    connection.send(frame(FRAME.headers, FLAG.endHeaders, 1, block(CALL)).subarray(0, 20));
    connection.close();
  },
};

const sockets = (): number => process.getActiveResourcesInfo().filter((name) => /TCP|TLS/.test(name)).length;

for (const [name, cut] of Object.entries(CUTS)) {
  test(`${STORM} connections cut ${name}: an honest caller is answered, and nothing is left of them`, async () => {
    const honest = (await RawConnection.open(served.port)).greet();
    const before = sockets();
    let stream = 1;
    for (let left = STORM; left > 0; left -= 20) {
      await Promise.all(Array.from({ length: 20 }, () => cut(served.port)));
      assert.notEqual(await honest.call(stream, CALL, NOTE), undefined);
      stream += 2;
    }
    await eventually('the end of their sockets', () => sockets() <= before);
    await eventually('the end of their calls', () => served.lab.pool.calls === 0);
    honest.close();
  });
}
