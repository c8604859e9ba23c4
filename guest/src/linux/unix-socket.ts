/** Unix stream sockets as bare descriptors, for handing to children. */
import { closeSync } from 'node:fs';
import { LinuxError } from './error.ts';
import { check, libc } from './libc.ts';

const AF_UNIX = 1;
const STREAM = 1 | 0o2000000; // closed on exec: a child gets a socket only if its stdio names it
/**
 * SOCK_NONBLOCK. **Trust**: an attacker may control the runtime that listens. One that accepts no
 * connection must not hold PID 1.
 */
const NONBLOCK = 0o4000;
const MAX_PATH = 107;

/**
 * Two connected sockets.
 *
 * @throws LinuxError.
 */
export function socketPair(): [number, number] {
  const pair = Buffer.alloc(8);
  check('socketpair', libc().socketpair(AF_UNIX, STREAM, 0, pair));
  return [pair.readInt32LE(0), pair.readInt32LE(4)];
}

/**
 * Returns a socket connected to the listener at `path`.
 *
 * @throws LinuxError, ENAMETOOLONG for a path of more than 107 bytes, EWOULDBLOCK if too many
 *   connections wait there already.
 */
export function connectUnix(path: string): number {
  const name = Buffer.from(path);
  if (name.length > MAX_PATH) throw new LinuxError('ENAMETOOLONG', `connect ${path}`);
  const address = Buffer.alloc(2 + MAX_PATH + 1);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  const fd = check('socket', libc().socket(AF_UNIX, STREAM | NONBLOCK, 0));
  try {
    check(`connect ${path}`, libc().connect(fd, address, address.length));
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
