/** Kernel settings (sysctl) that this system runs with. */
import { writeFileSync } from 'node:fs';

/** Path below /proc/sys, value, and what it is for. All exist in the image's kernel: one that does not is an error. */
const SETTINGS: readonly (readonly [path: string, value: string])[] = [
  // The console is the host's: no message of the kernel reaches it, a panic's registers included (level 0 is never raised).
  ['kernel/printk', '0 4 1 7'],
  // A break on the serial line must not let the host ask for registers and memory.
  ['kernel/sysrq', '0'],
  ['kernel/panic_on_oops', '1'],
  // What a process without privileges could learn about the kernel, or attack it through.
  ['kernel/kptr_restrict', '2'],
  ['kernel/dmesg_restrict', '1'],
  ['kernel/perf_event_paranoid', '3'],
  ['kernel/yama/ptrace_scope', '3'],
  ['kernel/unprivileged_bpf_disabled', '1'],
  ['kernel/io_uring_disabled', '2'],
  ['kernel/kexec_load_disabled', '1'],
  ['user/max_user_namespaces', '0'],
  ['fs/suid_dumpable', '0'],
  // The network is what was measured or leased: no address, route or name server by router advertisement or redirect.
  ['net/ipv6/conf/all/disable_ipv6', '1'],
  ['net/ipv6/conf/default/disable_ipv6', '1'],
  ['net/ipv4/conf/all/accept_redirects', '0'],
  ['net/ipv4/conf/default/accept_redirects', '0'],
  ['net/ipv4/conf/all/accept_source_route', '0'],
  ['net/ipv4/conf/default/accept_source_route', '0'],
];

/**
 * Applies the settings; before any interface is up.
 *
 * @throws the error of the file system where the kernel lacks one.
 */
export function applySettings(): void {
  for (const [path, value] of SETTINGS) writeFileSync(`/proc/sys/${path}`, value);
}

/**
 * No kernel module can be loaded any more until the next boot.
 *
 * @throws the error of the file system.
 */
export function freezeModules(): void {
  writeFileSync('/proc/sys/kernel/modules_disabled', '1');
}
