/** Plain gRPC on this machine in, attested gRPC out. */

export { type ListenOptions, type RunningProxy, startProxy } from './proxy.ts';
