/** QEMU, OVMF and swtpm: a machine from an image and an app bundle. */
export {
  type Accelerator,
  type BootSource,
  type Controller,
  type DiskSource,
  type MachineArguments,
  type MachineDescription,
  type Platform,
  renderMachine,
} from './arguments.ts';
export { MachineError, type MachineErrorCode } from './error.ts';
export {
  type DiskMachineOptions,
  describeMachine,
  type MachineOptions,
  type RunningMachine,
  startMachine,
} from './machine.ts';
export { readAppBundle } from './plan.ts';
export { launchNote, noteLaunch, type SealedTo, STATE_DISK, sealedTo } from './sealed-to.ts';
export { holdState, refuseLockedDisk } from './state-lock.ts';
export { findTools, type MachineTools, type ToolOptions } from './tools.ts';
export type { MachinePhase } from './watch.ts';
