/** False if this fails: an attested channel, and an auditor's look, go through an HTTP proxy as through none. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect as connectTcp } from 'node:net';
import { afterEach, test } from 'node:test';
import { connect, inspect } from '@enclaim/client';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { ECHO, startPretendServer } from './support/pretend-server.ts';

const NAMES = ['https_proxy', 'HTTPS_PROXY', 'http_proxy', 'no_proxy', 'NO_PROXY'];
const before = Object.fromEntries(NAMES.map((name) => [name, process.env[name]]));
afterEach(() => {
  for (const name of NAMES) {
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
  }
});

test('a channel goes to a name that only the proxy knows, and to loopback directly', async () => {
  const server = await startPretendServer();
  const asked: (string | undefined)[] = [];
  const tunnels = createServer();
  tunnels.on('connect', (request, socket) => {
    asked.push(request.url);
    const through = connectTcp(server.port, '127.0.0.1', () => socket.write('HTTP/1.1 200 ok\r\n\r\n'));
    through.on('error', () => socket.destroy());
    socket.on('error', () => through.destroy());
    through.pipe(socket).pipe(through);
  });
  tunnels.listen(0, '127.0.0.1');
  await once(tunnels, 'listening');
  process.env.HTTPS_PROXY = `http://127.0.0.1:${(tunnels.address() as AddressInfo).port}`;
  const { references } = server;
  try {
    const channel = await connect('intake.invalid:443', { references });
    assert.equal(channel.getTarget(), 'dns:intake.invalid:443');
    const same = (bytes: Buffer): Buffer => bytes;
    const client = new Client('x', credentials.createInsecure(), { channelOverride: channel });
    const answer = await new Promise((resolve, reject) => {
      client.makeUnaryRequest(`${ECHO}Unary`, same, same, Buffer.from('x'), new Metadata(), (error, value) =>
        error === null ? resolve(String(value)) : reject(error),
      );
    });
    assert.equal(answer, 'x');
    channel.close();
    await inspect('intake.invalid:443', references);
    assert.deepEqual(asked, ['intake.invalid:443', 'intake.invalid:443']);
    (await connect(server.target, { references })).close();
    await inspect(server.target, references);
    assert.equal(asked.length, 2, 'loopback is reached directly');
    tunnels.close();
    tunnels.closeAllConnections();
    await assert.rejects(connect('intake.invalid:443', { references }), {
      code: 'unreachable',
      message:
        /^no connection to intake\.invalid:443 through the proxy 127\.0\.0\.1:\d+ \(HTTPS_PROXY\): .*ECONNREFUSED/,
    });
  } finally {
    tunnels.close();
    server.stop();
  }
});
