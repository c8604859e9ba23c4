/**
 * The kernel as this system runs it: every word on its command line, every setting, and every state
 * that it has to be in, each with its reason. docs/security/hardening.md is this table for people.
 *
 * All of it is read back: the guest does not serve if one row does not hold.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { LinuxError } from './error.ts';

/** One row: the word, path or file, the value that it must have, and the reason. */
export type HardeningRow = readonly [what: string, value: string, reason: string];

/**
 * The measured command line, in order. Nothing else may stand on it but `enclaim.` words, once
 * each.
 */
export const COMMAND_LINE: readonly (readonly [word: string, reason: string])[] = [
  ['console=ttyS0', 'the guest says on the serial line why it does not serve'],
  ['quiet', 'the kernel itself writes nothing there but emergencies'],
  ['panic=-1', 'a panic resets at once: no machine lingers in an unmeasured state'],
  ['oops=panic', 'a kernel that went wrong once does not go on'],
  ['lockdown=confidentiality', 'even root can read neither kernel memory nor keys, nor kexec, nor load unsigned code'],
  ['module.sig_enforce=1', "only modules signed by Debian's kernel key load"],
  ['init_on_alloc=1', 'memory is zeroed before use'],
  ['init_on_free=1', 'and after use: no personal data outlives its page'],
  ['slab_nomerge', 'kernel objects of different kinds do not share pages'],
  ['page_alloc.shuffle=1', 'free pages come in an order that the host does not know'],
  ['randomize_kstack_offset=on', 'the kernel stack lies elsewhere at each system call'],
  ['vsyscall=none', 'no code at a fixed address'],
  ['ia32_emulation=off', 'no second set of system calls, of 32 bits, that filters would have to know'],
  [
    'proc_mem.force_override=never',
    "no process writes through /proc/PID/mem where a process's own pages may not be written",
  ],
  ['debugfs=off', 'no debugging interface'],
  ['random.trust_bootloader=off', "the firmware's seed is stirred in and counts for nothing: it may be the host's"],
];

/**
 * Paths below /proc/sys; a star stands for every interface. Each exists in the image's kernel: a
 * missing one is an error.
 */
export const SETTINGS: readonly HardeningRow[] = [
  [
    'kernel/printk',
    '0 4 1 7',
    "the console is the host's: no message of the kernel reaches it, a panic's registers included",
  ],
  ['kernel/sysrq', '0', 'a break on the serial line does not let the host ask for registers and memory'],
  ['kernel/panic', '-1', 'a panic resets at once, as the command line says'],
  ['kernel/panic_on_oops', '1', 'a kernel that went wrong once does not go on'],
  ['kernel/panic_print', '0', 'a panic shows no memory, tasks or locks'],
  ['kernel/ctrl-alt-del', '0', 'keys that the host presses are a signal to the supervisor'],
  ['kernel/randomize_va_space', '2', 'programs lie at addresses that an attacker does not know'],
  ['vm/mmap_rnd_bits', '32', 'and as many of them as the processor has room for'],
  ['vm/mmap_min_addr', '65536', 'a null pointer of the kernel points to nothing that a program made'],
  ['kernel/kptr_restrict', '2', 'no address of the kernel is shown'],
  ['kernel/dmesg_restrict', '1', "the kernel's messages are not for processes without privileges"],
  [
    'kernel/perf_event_paranoid',
    '3',
    'no performance counters: a side channel, and a large part of the kernel to attack',
  ],
  ['kernel/yama/ptrace_scope', '3', 'no process is traced, not by root either'],
  ['kernel/unprivileged_bpf_disabled', '1', 'no program in the kernel by a process without privileges, for good'],
  ['net/core/bpf_jit_harden', '2', "constants of compiled filters are blinded, the supervisor's own included"],
  ['kernel/io_uring_disabled', '2', 'a set of system calls that no filter sees'],
  ['kernel/kexec_load_disabled', '1', 'no other kernel is started from this one'],
  ['kernel/modprobe', '', 'the kernel starts no program to look for a module'],
  ['kernel/usermodehelper/bset', '0 0', 'what the kernel starts of its own accord has no privilege'],
  ['kernel/usermodehelper/inheritable', '0 0', 'and passes none on'],
  ['user/max_user_namespaces', '0', 'no process is root in a world of its own'],
  ['vm/unprivileged_userfaultfd', '0', 'no process holds the kernel still in the middle of a page'],
  ['dev/tty/ldisc_autoload', '0', 'old line disciplines stay unloaded'],
  ['dev/tty/legacy_tiocsti', '0', 'no process types into a terminal'],
  ['fs/suid_dumpable', '0', 'no core of a process that changed its user'],
  ['fs/protected_symlinks', '1', 'links in shared folders lead no program astray'],
  ['fs/protected_hardlinks', '1', 'the same for hard links'],
  ['fs/protected_fifos', '2', 'the same for pipes'],
  ['fs/protected_regular', '2', 'and for files'],
  ['net/ipv4/ip_unprivileged_port_start', '1024', 'only the supervisor speaks DHCP'],
  [
    'net/ipv4/ip_local_port_range',
    '32768 60999',
    'the firewall lets answers of name servers go to clients, which are these ports',
  ],
  ['net/ipv4/tcp_syncookies', '1', 'half-open connections fill no table'],
  ['net/ipv4/tcp_rfc1337', '1', 'a stray reset does not end the wait after a connection'],
  ['net/ipv4/conf/*/forwarding', '0', 'nothing goes through this machine'],
  ['net/ipv4/conf/*/route_localnet', '0', 'loopback addresses do not come from outside'],
  [
    'net/ipv4/conf/*/accept_redirects',
    '0',
    'the network is what was measured or leased, and no later word changes its routes',
  ],
  ['net/ipv4/conf/*/secure_redirects', '0', "the same for the gateway's word"],
  ['net/ipv4/conf/*/send_redirects', '0', 'nor does this machine redirect its peers'],
  ['net/ipv4/conf/*/accept_source_route', '0', 'senders do not choose routes'],
  ['net/ipv6/conf/all/disable_ipv6', '1', 'no IPv6 where the command line does not ask for it'],
  ['net/ipv6/conf/default/disable_ipv6', '1', 'nor on an interface that comes later'],
  ['net/ipv6/conf/*/forwarding', '0', 'nothing goes through this machine'],
  ['net/ipv6/conf/*/accept_ra', '0', "no router's advertisement is heard once the first has given an address"],
  ['net/ipv6/conf/*/accept_ra_mtu', '0', 'and that one sets no packet size'],
  ['net/ipv6/conf/*/accept_ra_min_hop_limit', '64', 'nor how soon packets die'],
  ['net/ipv6/conf/*/accept_ra_rt_info_max_plen', '0', 'nor routes to elsewhere'],
  ['net/ipv6/conf/*/accept_ra_rtr_pref', '0', 'nor which router is better'],
  ['net/ipv6/conf/*/max_addresses', '2', "nor more than one address beside the link's own"],
  ['net/ipv6/conf/*/accept_redirects', '0', 'the network is what was measured or given first'],
  ['net/ipv6/conf/*/accept_source_route', '-1', 'senders do not choose routes'],
  ['net/ipv6/conf/*/accept_dad', '0', 'who claims to have the address already does not take it away'],
  ['net/ipv6/conf/*/dad_transmits', '0', 'so no peer is asked'],
];

/**
 * Files and their contents. After a blank in the name come the words that the line begins with. An
 * empty value means that there is no such file.
 */
export const STATES: readonly HardeningRow[] = [
  ['/sys/kernel/security/lockdown', 'none integrity [confidentiality]', 'lockdown is on, and its strictest'],
  ['/sys/module/module/parameters/sig_enforce', 'Y', 'unsigned modules do not load'],
  ['/proc/sys/kernel/modules_disabled', '1', 'and since the first ones, none does until the next boot'],
  ['/sys/module/page_alloc/parameters/shuffle', 'Y', 'free pages are shuffled'],
  ['/sys/kernel/debug', '', 'there is no debugfs'],
  ['/sys/kernel/kexec_loaded', '0', 'no other kernel waits'],
  ['/sys/power/disk', '[disabled]', 'memory is not written to a disk'],
  ['/proc/swaps', 'Filename Type Size Used Priority', 'nor swapped out to one'],
  ['/sys/module/pstore/parameters/backend', '(null)', "nor are a crash's last words kept in the firmware's variables"],
  [
    '/sys/class/misc/hw_random/rng_current',
    'none',
    "no random numbers of the host's devices: the processor's, and time, fill the pool",
  ],
  ['/proc/self/limits Max core file size', '0 0 bytes', 'no core dumps'],
  ['/proc/self/status CapBnd:', '0000000000000000', 'no child regains a privilege that it gave up'],
  ['/proc/self/status NoNewPrivs:', '1', 'not by a program either'],
];

/**
 * Added to the command line by firmware that starts a kernel and initrd directly. It is measured
 * with it.
 */
const FIRMWARE_WORD = 'initrd=initrd';
const OWN_PREFIX = 'enclaim.';
const ROOT = '/proc/sys/';
const STAR = '/*/';

/** Reads a file: its text, the empty text for a folder, or null if there is none. */
export type ReadFile = (path: string) => string | null;

/** Lists a folder. */
export type ListFolder = (path: string) => readonly string[];

/**
 * Applies {@link SETTINGS}. The caller does so while loopback is the only interface, so that later
 * ones take the settings over.
 *
 * @throws the error of the file system if the kernel lacks a setting.
 */
export function applySettings(): void {
  for (const [what, value] of SETTINGS) {
    for (const path of expand(what, readdirSync)) writeFileSync(path, `${value}\n`);
  }
}

/**
 * No kernel module can be loaded any more until the next boot.
 *
 * @throws the error of the file system.
 */
export function freezeModules(): void {
  writeFileSync('/proc/sys/kernel/modules_disabled', '1');
}

/**
 * Reads every row back, once modules are frozen.
 *
 * @returns How many rows hold: all.
 * @throws LinuxError EPROTO that names the first that does not.
 */
export function verifyHardening(read: ReadFile = readOrNull, list: ListFolder = readdirSync): number {
  verifyCommandLine(read('/proc/cmdline') ?? '');
  for (const [what, value] of SETTINGS) {
    for (const path of expand(what, list)) expectValue(path, read(path), value);
  }
  for (const [what, value] of STATES) {
    const [path = '', ...key] = what.split(' ');
    expectValue(what, key.length === 0 ? read(path) : lineOf(read(path), key.join(' ')), value);
  }
  return COMMAND_LINE.length + SETTINGS.length + STATES.length;
}

/**
 * Refuses any command line but the words that this system is started with, each of them once. The
 * kernel passes what it does not know to PID 1.
 *
 * **Trust**: without this, a word such as `NODE_OPTIONS=…` would be in the environment of PID 1.
 */
function verifyCommandLine(text: string): void {
  const words = normal(text).split(' ');
  for (const [word] of COMMAND_LINE) {
    const times = words.filter((each) => each === word).length;
    if (times !== 1) throw misfit('/proc/cmdline', `${word} stands there ${times} times`);
  }
  const known = new Set([...COMMAND_LINE.map(([word]) => word), FIRMWARE_WORD]);
  const strange = words.find((word) => !known.has(word) && !word.startsWith(OWN_PREFIX));
  if (strange !== undefined) throw misfit('/proc/cmdline', `${strange} is not a word of this system`);
}

function expand(what: string, list: ListFolder): string[] {
  const path = `${ROOT}${what}`;
  const at = path.indexOf(STAR);
  if (at < 0) return [path];
  return list(path.slice(0, at)).map((name) => path.replace(STAR, `/${name}/`));
}

function expectValue(what: string, found: string | null, expected: string): void {
  const shown = found === null ? '' : normal(found);
  // An empty value of a setting is a file without text; an empty state is a file that is not there.
  const fits = shown === expected && (found === null) === (expected === '' && !what.startsWith(ROOT));
  if (!fits) throw misfit(what, `${found === null ? 'is not there' : `is "${shown}"`}, expected "${expected}"`);
}

function lineOf(text: string | null, key: string): string | null {
  const line = text?.split('\n').find((each) => each.startsWith(key));
  return line?.slice(key.length) ?? null;
}

function normal(text: string): string {
  return text.replace(/[ \t\n]+/g, ' ').replace(/^ | $/g, '');
}

function misfit(what: string, detail: string): LinuxError {
  return new LinuxError('EPROTO', what, detail.slice(0, 200));
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    if (code === 'EISDIR') return '';
    throw error;
  }
}
