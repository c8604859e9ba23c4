/** Kernel modules. */
import { closeSync, openSync } from 'node:fs';
import { LinuxError } from './error.ts';
import { freezeModules } from './hardening.ts';
import { check, libc } from './libc.ts';

const SYS_FINIT_MODULE = 313n;
const COMPRESSED_FILE = 4n;
/**
 * Errors that mean absent hardware. ENOENT: a symbol of a module that was not loaded, because its
 * hardware is absent.
 */
const ABSENT: ReadonlySet<string> = new Set(['ENODEV', 'ENXIO', 'ENOENT']);

/** One module to load. */
export interface KernelModule {
  /**
   * Path of the .ko or .ko.xz file; xz is decompressed by the kernel, which also checks the
   * signature.
   */
  readonly path: string;
  /**
   * A driver for hardware that may be absent (`ENODEV`, `ENXIO`) is `optional`. So is one that
   * builds on such a driver.
   */
  readonly optional?: boolean;
}

/**
 * Loads modules in the order given, dependencies first, and lets no other be loaded until the next
 * boot. One that is loaded already counts as loaded.
 *
 * @returns The paths of those that were loaded; an optional one whose hardware is absent is not
 *   among them.
 * @throws LinuxError.
 */
export function loadModules(modules: readonly KernelModule[]): readonly string[] {
  const loaded = modules.filter(load).map(({ path }) => path);
  freezeModules();
  return loaded;
}

function load({ path, optional = false }: KernelModule): boolean {
  const file = openSync(path, 'r');
  try {
    const flags = path.endsWith('.xz') ? COMPRESSED_FILE : 0n;
    check(`finit_module ${path}`, libc().syscall(SYS_FINIT_MODULE, BigInt(file), '', flags));
    return true;
  } catch (error) {
    if (error instanceof LinuxError && error.code === 'EEXIST') return true;
    if (error instanceof LinuxError && optional && ABSENT.has(error.code)) return false;
    throw error;
  } finally {
    closeSync(file);
  }
}
