/** A client that sends half a frame and then nothing: its connection ends, and nobody else's waits for it. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { ALPN, decodeFrame } from '@enclaim/attestation/handshake';
import { connect } from '@enclaim/client';
import { startPretendServer } from './support/pretend-server.ts';

test('half a frame stalls its own connection only', async () => {
  const server = await startPretendServer();
  const socket = connectTls({ port: server.port, host: '127.0.0.1', ALPNProtocols: [ALPN], rejectUnauthorized: false });
  try {
    await once(socket, 'secureConnect');
    for (const half of [[0], [0, 0]]) {
      socket.write(Buffer.from(half));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const used = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, 500));
    const { user, system } = process.cpuUsage(used);
    assert.ok((user + system) / 1000 < 250, `${(user + system) / 1000} ms of processor in 500 ms of waiting`);
    (await connect(server.target, { references: server.references })).close();
  } finally {
    socket.destroy();
    server.stop();
  }
});

test('what is no frame is refused with a reason', async () => {
  const server = await startPretendServer();
  try {
    for (const bytes of [
      [0, 0, 0, 0],
      [0xff, 0xff, 0xff, 0xff],
      [0, 0, 0, 1, 0],
    ]) {
      const socket = connectTls({
        port: server.port,
        host: '127.0.0.1',
        ALPNProtocols: [ALPN],
        rejectUnauthorized: false,
      });
      socket.on('error', () => {});
      await once(socket, 'secureConnect');
      socket.write(Buffer.from(bytes));
      const answer = Buffer.concat(await Array.fromAsync(socket as AsyncIterable<Buffer>));
      const step = decodeFrame(answer.subarray(4));
      assert.equal(step.case, 'refused');
    }
  } finally {
    server.stop();
  }
});
