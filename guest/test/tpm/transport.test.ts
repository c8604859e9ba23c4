/** The socket transport, against a peer that misbehaves. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openTpmDevice, openTpmSocket, type TpmTransport } from '../../src/tpm/transport.ts';

const ANSWER = Uint8Array.of(0x80, 0x01, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0);

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-transport-'));
});
after(() => rm(folder, { recursive: true }));

/** Runs `use` with a transport to a peer that answers each command through `peer`. */
async function withPeer(
  peer: (socket: Socket, command: Buffer) => void,
  use: (transport: TpmTransport) => Promise<void>,
): Promise<void> {
  const path = join(folder, 'peer');
  const server: Server = createServer((socket) =>
    socket.on('data', (data) => peer(socket, Buffer.from(data))).on('error', () => {}),
  );
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const transport = await openTpmSocket({ path });
  try {
    await use(transport);
  } finally {
    await transport.close();
    await new Promise((resolve) => server.close(resolve));
  }
}

const broken = { name: 'TpmError', code: 'transport' };

test('answers go to their questions, in order, also in pieces', () =>
  withPeer(
    (socket, command) => {
      assert.equal(command.length, 1, 'the next command waits for the answer');
      const answer = ANSWER.with(11, command[0] ?? 0);
      socket.write(answer.subarray(0, 3));
      setTimeout(() => socket.write(answer.subarray(3)), 2);
    },
    async ({ send }) => {
      const answers = await Promise.all([1, 2, 3].map((n) => send(Uint8Array.of(n))));
      assert.deepEqual(
        answers.map((answer) => answer[11]),
        [1, 2, 3],
      );
    },
  ));

for (const [what, reply] of [
  ['hangs up', (socket: Socket) => socket.destroy()],
  ['hangs up in the middle', (socket: Socket) => socket.end(ANSWER.subarray(0, 5))],
  ['claims a size beyond every buffer', (socket: Socket) => socket.write(ANSWER.with(2, 0x7f))],
  ['claims a size below the header', (socket: Socket) => socket.write(ANSWER.with(5, 9))],
  ['says more than it announced', (socket: Socket) => socket.write(Buffer.concat([ANSWER, ANSWER]))],
] as const) {
  test(`a peer that ${what} ends the transport: no later answer is taken for another's`, () =>
    withPeer(reply, async ({ send }) => {
      await assert.rejects(send(Uint8Array.of(1)), broken);
      await assert.rejects(send(Uint8Array.of(2)), broken);
    }));
}

test('nobody there, no device, closed, too long', async () => {
  await assert.rejects(openTpmSocket({ path: join(folder, 'nobody') }), broken);
  await assert.rejects(openTpmDevice(join(folder, 'none')), broken);
  await withPeer(
    () => undefined,
    async (transport) => {
      await assert.rejects(transport.send(new Uint8Array(5000)), RangeError);
      await transport.close();
      await transport.close();
      await assert.rejects(transport.send(ANSWER), broken);
    },
  );
});

test('a device is written whole and read once', async () => {
  // A file stands in for the device: what is read is what lies behind what was written.
  const path = join(folder, 'device');
  await writeFile(path, Buffer.concat([new Uint8Array(4), ANSWER]));
  const device = await openTpmDevice(path);
  assert.deepEqual(await device.send(Uint8Array.of(1, 2, 3, 4)), ANSWER);
  await device.close();
});
