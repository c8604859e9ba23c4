/** A connection to a unix socket as a bare descriptor, to be handed to a child. */
import { closeSync } from 'node:fs';
import { check, libc } from './libc.ts';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const PATH_LENGTH = 108;

/**
 * A descriptor connected to the socket at `path`, closed on exec.
 *
 * @throws LinuxError; RangeError for a path that does not fit in sockaddr_un.
 */
export function connectUnix(path: string): number {
  const address = Buffer.alloc(2 + PATH_LENGTH);
  address.writeUInt16LE(AF_UNIX, 0);
  if (address.write(path, 2, 'utf8') >= PATH_LENGTH) throw new RangeError(`${path} is too long for a socket`);
  const fd = check('socket', libc().socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  try {
    check('connect', libc().connect(fd, address, address.length));
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}
