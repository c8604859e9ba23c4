/**
 * Our own programs inside the image: which source file becomes which file. Known here by name only,
 * never imported.
 */

/**
 * A program that esbuild bundles. Paths of sources are below the project's root, those of the image
 * below `/`.
 */
export interface Entry {
  readonly source: string;
  readonly path: string;
  readonly reason: string;
  /** Whether the kernel starts it: gets a `#!` line and the execute bit. */
  readonly executable?: boolean;
}

export const ENTRIES: readonly Entry[] = [
  {
    source: 'guest/src/main.ts',
    path: 'enclaim/guest.mjs',
    reason: 'PID 1: mounts, measures policy and app bundle, brings up the network, supervises, powers off',
    executable: true,
  },
  {
    source: 'runtime/src/main.ts',
    path: 'enclaim/runtime.mjs',
    reason: 'the runtime: admission, gRPC, access, flow rules, brokers, log, receipts, quotes',
  },
  {
    source: 'runtime/src/worker/process/main.ts',
    path: 'enclaim/worker.mjs',
    reason: 'the confined process that runs handlers of the operator',
  },
];
