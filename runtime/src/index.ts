/** Inside the VM, no hardware: admission, confinement, flow rules, log, gRPC, quote batching. */

export { anchorTime, BootClock, type TimeAnchor } from './clock.ts';
export { type RefusalCode, RefusalError } from './errors.ts';
export type { Capacity } from './governor/resources.ts';
export type { AttestingPlatform, HardwareEvidence } from './hardware/platform.ts';
export { type HardwareUse, platformOn } from './hardware/platforms.ts';
export { type Runtime, type RuntimeOptions, startRuntime } from './runtime.ts';
export type { WorkerFactory, WorkerProcess } from './worker/worker.ts';
