/** The lock of a folder: one process at a time writes what is there. */

import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { UsageError } from './usage-error.ts';

/**
 * Holds a folder until the lock is disposed of or this process ends. It is the name of a socket
 * that is no file (unix(7), abstract), so that the kernel takes it back however a session ends.
 *
 * @param purpose beginning of the name; each purpose has a lock of its own
 * @param help what the user should do if another process holds it
 * @throws UsageError if another process holds it
 */
export async function lockFolder(folder: string, purpose: string, help: string): Promise<AsyncDisposable> {
  const name = createHash('sha256')
    .update(await realpath(folder))
    .digest('hex');
  const server = createServer((socket) => socket.destroy());
  await listening(server, `\0${purpose}-${name}`).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'EADDRINUSE') throw new UsageError(`${folder} is held by another process: ${help}`, { cause });
    throw cause;
  });
  // It keeps no process alive.
  server.unref();
  return {
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen({ path }, resolve);
  });
}
