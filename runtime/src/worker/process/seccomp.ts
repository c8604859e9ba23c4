/**
 * The kernel's part of a worker's confinement: the list of system calls that remain (seccomp(2),
 * BPF on x86-64 Linux).
 */

import { dlopen, getRawPointer } from 'node:ffi';

/**
 * System calls of a Node process that has its files, threads and sockets already. None opens,
 * connects, forks, executes, signals, traces or reads user ids. A handler that owned this process
 * could compute, and write to its one socket.
 */
const ALLOWED: Readonly<Record<string, number>> = {
  // The socket to the runtime, and the loop's own descriptors.
  read: 0,
  write: 1,
  readv: 19,
  writev: 20,
  close: 3,
  shutdown: 48,
  epoll_wait: 232,
  epoll_ctl: 233,
  epoll_pwait: 281,
  // Memory. The engine writes machine code, so pages may become executable. No file can be mapped,
  // because none can be opened.
  mmap: 9,
  mprotect: 10,
  munmap: 11,
  brk: 12,
  mremap: 25,
  madvise: 28,
  // Threads that exist, and the engine's clocks.
  futex: 202,
  sched_yield: 24,
  sched_getparam: 143,
  sched_getscheduler: 145,
  sched_getaffinity: 204,
  getpid: 39,
  gettid: 186,
  clock_gettime: 228,
  clock_nanosleep: 230,
  nanosleep: 35,
  gettimeofday: 96,
  getrusage: 98,
  restart_syscall: 219,
  getrandom: 318,
  rseq: 334,
  set_robust_list: 273,
  // Signals that arrive, and the end.
  rt_sigaction: 13,
  rt_sigprocmask: 14,
  rt_sigreturn: 15,
  sigaltstack: 131,
  exit: 60,
  exit_group: 231,
};

/**
 * Calls that fail instead of ending the process. Libraries look for processors, time zones and
 * locales, and can do without.
 */
const FAILING: Readonly<Record<string, number>> = {
  openat: 257,
  stat: 4,
  lstat: 6,
  newfstatat: 262,
  statx: 332,
  access: 21,
  readlink: 89,
  readlinkat: 267,
};

/** `struct seccomp_data`: offsets of the call's number and of the architecture. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const AUDIT_ARCH_X86_64 = 0xc000003e;
/** Numbers with this bit belong to the x32 ABI, which has its own numbering. */
const X32 = 0x40000000;

const LOAD = 0x20; // BPF_LD | BPF_W | BPF_ABS
const IF_EQUAL = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_AT_LEAST = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN = 0x06; // BPF_RET | BPF_K
const ALLOW = 0x7fff0000;
const KILL_PROCESS = 0x80000000;
const FAIL_EACCES = 0x00050000 | 13;

const PR_SET_NO_NEW_PRIVS = 38n;
const PR_SET_DUMPABLE = 4n;
const SYS_SECCOMP = 317n;
const SECCOMP_SET_MODE_FILTER = 1n;
const ALL_THREADS = 1n; // SECCOMP_FILTER_FLAG_TSYNC

/** The answers of a filter, by the call's number. */
export interface Filter {
  readonly allow: readonly number[];
  /** Calls that fail with EACCES. */
  readonly fail: readonly number[];
  readonly otherwise: 'kill' | 'allow';
}

/** The filter of a worker. */
export const WORKER_FILTER: Filter = {
  allow: Object.values(ALLOWED),
  fail: Object.values(FAILING),
  otherwise: 'kill',
};

/**
 * The bytes of a filter, for each step a `struct sock_filter { u16 code, u8 jt, u8 jf, u32 k }`. A
 * call of another architecture ends the process.
 */
export function seccompProgram({ allow, fail, otherwise }: Filter): Uint8Array {
  const answers = [otherwise === 'kill' ? KILL_PROCESS : ALLOW, FAIL_EACCES, ALLOW, KILL_PROCESS];
  const asked = [...fail.map((number) => [number, 1] as const), ...allow.map((number) => [number, 2] as const)];
  if (asked.length + answers.length > 0xff)
    throw new RangeError(`${asked.length} calls are more than a jump passes over`);
  // A jump counts from the instruction after it. The answers stand behind all comparisons.
  const steps: (readonly [code: number, ifTrue: number, ifFalse: number, value: number])[] = [
    [LOAD, 0, 0, ARCHITECTURE],
    [IF_EQUAL, 1, 0, AUDIT_ARCH_X86_64],
    [RETURN, 0, 0, KILL_PROCESS],
    [LOAD, 0, 0, NUMBER],
    [IF_AT_LEAST, asked.length + 3, 0, X32],
    ...asked.map(([number, answer], at) => [IF_EQUAL, asked.length - at - 1 + answer, 0, number] as const),
    ...answers.map((answer) => [RETURN, 0, 0, answer] as const),
  ];
  const bytes = Buffer.alloc(steps.length * 8);
  steps.forEach(([code, ifTrue, ifFalse, value], at) => {
    bytes.writeUInt16LE(code, at * 8);
    bytes.writeUInt8(ifTrue, at * 8 + 2);
    bytes.writeUInt8(ifFalse, at * 8 + 3);
    bytes.writeUInt32LE(value, at * 8 + 4);
  });
  return bytes;
}

/**
 * Puts a filter on this process and all its threads, for good. It first rules out new privileges
 * and tracing.
 *
 * @throws Error if the kernel refuses; the process must not go on then
 */
export function restrictSystemCalls(filter: Filter): void {
  const { prctl, syscall } = dlopen('libc.so.6', {
    prctl: { arguments: ['int64', 'uint64', 'uint64', 'uint64', 'uint64'], return: 'int32' },
    syscall: { arguments: ['int64', 'int64', 'int64', 'buffer'], return: 'int64' },
  }).functions;
  const program = seccompProgram(filter);
  const header = Buffer.alloc(16); // struct sock_fprog { u16 length, pointer }
  header.writeUInt16LE(program.length / 8, 0);
  header.writeBigUInt64LE(getRawPointer(program), 8);
  const results = [
    prctl(PR_SET_NO_NEW_PRIVS, 1n, 0n, 0n, 0n),
    prctl(PR_SET_DUMPABLE, 0n, 0n, 0n, 0n),
    syscall(SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, ALL_THREADS, header),
  ];
  if (results.some((result) => Number(result) !== 0)) throw new Error(`seccomp was refused: ${results.join(', ')}`);
}
