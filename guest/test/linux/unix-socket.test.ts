/** Sockets to and from the supervisor connect, or say why not, and none holds it up. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, mkdtempSync, rmSync, writeSync } from 'node:fs';
import { createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { connectUnix, socketPair } from '../../src/linux/unix-socket.ts';

test('a pair is connected', async () => {
  const [ours, theirs] = socketPair();
  writeSync(theirs, 'across');
  closeSync(theirs);
  assert.equal(await text(new Socket({ fd: ours })), 'across');
});

test('connects to a listener, and names what is not one', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'enclaim-unix-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'socket');
  assert.throws(() => connectUnix(path), { name: 'LinuxError', code: 'ENOENT', call: `connect ${path}` });
  assert.throws(() => connectUnix(`/${'x'.repeat(107)}`), { name: 'LinuxError', code: 'ENAMETOOLONG' });
  const server = createServer().listen(path);
  t.after(() => server.close());
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const fd = connectUnix(path);
  writeSync(fd, 'hello');
  closeSync(fd);
  const [socket] = await accepted;
  assert.equal(await text(socket), 'hello');
});

test('a listener that takes nobody does not hold the supervisor', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'enclaim-unix-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'socket');
  const server = createServer((socket) => socket.destroy()).listen({ path, backlog: 1 });
  t.after(() => server.close());
  await once(server, 'listening');
  const open: number[] = [];
  t.after(() => open.map((fd) => closeSync(fd)));
  const connectMany = (): void => {
    for (let count = 0; count < 10; count++) open.push(connectUnix(path)); // none of it lets the server take one
  };
  assert.throws(connectMany, { name: 'LinuxError', code: 'EWOULDBLOCK' });
});
