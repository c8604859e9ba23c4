/** The C library's functions that the guest needs, bound through node:ffi (x86-64 Linux, glibc). */
import { dlopen, getInt32, getRawPointer } from 'node:ffi';
import { errnoName, LinuxError } from './error.ts';

// Variadic functions (ioctl, prctl, syscall) take only integers here, which the x86-64 ABI passes
// as for any function.
const FUNCTIONS = {
  __errno_location: { arguments: [], return: 'pointer' },
  bind: { arguments: ['int32', 'buffer', 'uint32'], return: 'int32' },
  chdir: { arguments: ['string'], return: 'int32' },
  chroot: { arguments: ['string'], return: 'int32' },
  connect: { arguments: ['int32', 'buffer', 'uint32'], return: 'int32' },
  fchdir: { arguments: ['int32'], return: 'int32' },
  ioctl: { arguments: ['int32', 'uint64', 'buffer'], return: 'int32' },
  mount: { arguments: ['string', 'string', 'string', 'uint64', 'string'], return: 'int32' },
  prctl: { arguments: ['int32', 'uint64', 'uint64', 'uint64', 'uint64'], return: 'int32' },
  recv: { arguments: ['int32', 'buffer', 'uint64', 'int32'], return: 'int64' },
  reboot: { arguments: ['int32'], return: 'int32' },
  send: { arguments: ['int32', 'buffer', 'uint64', 'int32'], return: 'int64' },
  setns: { arguments: ['int32', 'int32'], return: 'int32' },
  setrlimit: { arguments: ['int32', 'buffer'], return: 'int32' },
  setsockopt: { arguments: ['int32', 'int32', 'int32', 'buffer', 'uint32'], return: 'int32' },
  socket: { arguments: ['int32', 'int32', 'int32'], return: 'int32' },
  socketpair: { arguments: ['int32', 'int32', 'int32', 'buffer'], return: 'int32' },
  sync: { arguments: [], return: 'void' },
  syscall: { arguments: ['int64', 'int64', 'pointer', 'int64'], return: 'int64' },
  tcdrain: { arguments: ['int32'], return: 'int32' },
  umount2: { arguments: ['string', 'int32'], return: 'int32' },
  unshare: { arguments: ['int32'], return: 'int32' },
  waitpid: { arguments: ['int32', 'buffer', 'int32'], return: 'int32' },
} as const;

type Libc = ReturnType<typeof dlopen<typeof FUNCTIONS>>['functions'];

let loaded: Libc | undefined;

/**
 * The C library, opened at the first use so that importing a parser never needs the right to use
 * FFI.
 */
export function libc(): Libc {
  loaded ??= dlopen('libc.so.6', FUNCTIONS).functions;
  return loaded;
}

/**
 * The result of a call that answers -1 for failure.
 *
 * @param call What was called and why, for the error: `mount /proc`.
 * @throws LinuxError with the errno of the failed call.
 */
export function check(call: string, result: number | bigint): number {
  if (Number(result) !== -1) return Number(result);
  throw new LinuxError(errnoName(getInt32(libc().__errno_location())), call);
}

/**
 * The address of `bytes`, for a structure that points to them. The caller keeps `bytes` referenced
 * until the call is over.
 */
export function addressOf(bytes: Uint8Array): bigint {
  return getRawPointer(bytes);
}
