/** Ways to a TPM: the kernel's device, and the socket of a software TPM. */

import { open } from 'node:fs/promises';
import { connect } from 'node:net';
import { concat, Reader } from '@enclaim/attestation/bytes';
import { TpmError } from './error.ts';
import { Queue } from './queue.ts';

/**
 * One whole command in, one whole response out. Calls may overlap. They are answered one after
 * another, in order.
 */
export interface TpmTransport {
  /**
   * @throws TpmError `transport`. Every later call fails too, because a late answer could be taken
   *   for another call's.
   */
  send(command: Uint8Array): Promise<Uint8Array>;
  close(): Promise<void>;
}

/**
 * The largest command and response of a PC client TPM, in bytes, and the size of the kernel's
 * buffer.
 */
export const MAX_MESSAGE = 4096;

/** tag, size, code. */
const HEADER = 10;

/** Milliseconds within which a software TPM must have answered. */
const SOCKET_TIMEOUT = 30_000;

/**
 * The kernel's TPM with resource manager.
 *
 * The kernel wants a command in one write, has the answer ready when the write returns, and answers
 * EBUSY to a second write before the read. Therefore `inTurn` keeps that order.
 * @throws TpmError `transport` if the device cannot be opened
 */
export async function openTpmDevice(path = '/dev/tpmrm0'): Promise<TpmTransport> {
  const file = await open(path, 'r+').catch((cause: unknown) => {
    throw new TpmError('transport', `cannot open ${path}`, { cause });
  });
  const exchange = async (command: Uint8Array): Promise<Uint8Array> => {
    // Position null: the device cannot seek.
    const { bytesWritten } = await file.write(command, 0, command.length, null);
    if (bytesWritten !== command.length) throw new Error(`${bytesWritten} of ${command.length} bytes written`);
    const { bytesRead, buffer } = await file.read(new Uint8Array(MAX_MESSAGE), 0, MAX_MESSAGE, null);
    return buffer.subarray(0, bytesRead);
  };
  return inTurn(exchange, () => file.close());
}

/**
 * The data socket of a software TPM (swtpm `--server`): a unix path, or a port on the loopback
 * address.
 * @throws TpmError `transport` if no server listens
 */
export async function openTpmSocket(
  address: { readonly path: string } | { readonly port: number },
): Promise<TpmTransport> {
  const socket = connect('path' in address ? { path: address.path } : { host: '127.0.0.1', port: address.port });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (cause) => reject(new TpmError('transport', 'cannot connect to the TPM', { cause })));
  });
  socket.setNoDelay().pause();
  // Between commands an error shows as the close that follows it.
  socket.on('error', () => undefined);

  const exchange = (command: Uint8Array): Promise<Uint8Array> =>
    new Promise((resolve, reject) => {
      let answer: Uint8Array = new Uint8Array();
      const settle = (error?: Error): void => {
        clearTimeout(timer);
        socket.off('data', onData).off('error', settle).off('close', onClose).pause();
        if (error) reject(error);
        else resolve(answer);
      };
      const timer = setTimeout(() => settle(new Error(`no answer in ${SOCKET_TIMEOUT} ms`)), SOCKET_TIMEOUT);
      const onClose = (): void => settle(new Error('connection closed'));
      const onData = (chunk: Uint8Array): void => {
        answer = concat(answer, chunk);
        if (answer.length < HEADER) return;
        const size = new Reader(answer.subarray(2)).u32be();
        if (size > MAX_MESSAGE || size < HEADER || answer.length > size) settle(new Error(`answer of ${size} bytes`));
        else if (answer.length === size) settle();
      };
      if (socket.closed) return onClose();
      socket.on('data', onData).on('error', settle).on('close', onClose).resume();
      socket.write(command);
    });
  return inTurn(exchange, async () => {
    if (socket.closed) return;
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.destroy();
    await closed;
  });
}

/** One exchange at a time; after a failed one, none. */
function inTurn(exchange: (command: Uint8Array) => Promise<Uint8Array>, close: () => Promise<void>): TpmTransport {
  const queue = new Queue();
  let closed: Promise<void> | undefined;
  let failure: unknown = new Error('closed');
  const closeOnce = (): Promise<void> => {
    closed ??= close();
    return closed;
  };
  const send = async (command: Uint8Array): Promise<Uint8Array> => {
    if (closed !== undefined) throw new TpmError('transport', 'the TPM is closed', { cause: failure });
    if (command.length > MAX_MESSAGE) throw new RangeError(`command of ${command.length} bytes`);
    try {
      return await exchange(command);
    } catch (cause) {
      failure = cause;
      await closeOnce().catch(() => undefined);
      throw new TpmError('transport', 'the TPM did not answer', { cause });
    }
  };
  return { send: (command) => queue.run(() => send(command)), close: () => queue.run(closeOnce) };
}
