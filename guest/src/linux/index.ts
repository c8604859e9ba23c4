/** Linux, as PID 1 needs it: mounts, modules, network, disks, children and the way off. */
export { type CgroupLimits, cgroupFolder, makeCgroup, makeOuterCgroup, removeCgroup } from './cgroup.ts';
export {
  type AddressSource,
  type AddressSource6,
  type CommandLine,
  CommandLineError,
  type NetworkSources,
  parseCommandLine,
  readCommandLine,
} from './command-line.ts';
export { awaitDisk, type Disk, findDisk } from './disk.ts';
export { type ErrnoName, LinuxError } from './error.ts';
export { type FirewallPlan, installFirewall } from './firewall.ts';
export { verifyHardening } from './hardening.ts';
export { formatAddress6 } from './ipv6.ts';
export { restrictForGood } from './limits.ts';
export { type KernelModule, loadModules } from './modules.ts';
export { MOUNT, type MountOptions, mount, mountBase, mountConfigfs, unmount } from './mounts.ts';
export { configureNetwork, type NetworkState } from './network.ts';
export { reapOrphans } from './orphans.ts';
export { neverExit, powerOff } from './power.ts';

export {
  type ChildExit,
  type ConfinedChild,
  type ConfinedOptions,
  type Namespace,
  type RootEntry,
  spawnConfined,
} from './spawn.ts';
export { connectUnix, socketPair } from './unix-socket.ts';
