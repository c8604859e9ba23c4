/**
 * grpc.health.v1.Health: NOT_SERVING until there is evidence and a log, and again once the runtime
 * closes.
 */

import { create, toBinary } from '@bufbuild/protobuf';
import { RequestError } from '@enclaim/attestation/grpc-request';
import {
  Health,
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus,
  HealthCheckResponseSchema,
  HealthListResponseSchema,
} from '../gen/grpc/health/v1/health_pb.js';
import { STATUS } from '../refusals.ts';
import type { GrpcCall } from './grpc-call.ts';
import { type ServedMethod, servedMethod } from './served-methods.ts';
import { serveSmall, smallRequest } from './small-requests.ts';

type Status = HealthCheckResponse_ServingStatus;
/** Concurrent watches. A watch has no end of its own, and each holds a stream. */
const MAX_WATCHERS = 1024;
const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;

/** The health of the runtime and of every service that it exposes. All have the same status. */
export class HealthService {
  readonly #known: ReadonlySet<string>;
  /** The calls that watch, with the service that each asked for. */
  readonly #watchers = new Map<GrpcCall, string>();
  #serving = false;
  #stopped = false;

  /** @param services full names of the exposed services; the empty name is the runtime itself */
  constructor(services: Iterable<string>) {
    this.#known = new Set(['', ...services]);
  }

  /** Turns the status to SERVING, unless it was stopped. */
  serve(): void {
    if (this.#stopped) return;
    this.#serving = true;
    for (const watcher of this.#watchers) this.#tell(...watcher);
  }

  /** Turns the status to NOT_SERVING. */
  pause(): void {
    this.#serving = false;
    for (const watcher of this.#watchers) this.#tell(...watcher);
  }

  /** Turns the status to NOT_SERVING and ends all watches. */
  stop(): void {
    this.#stopped = true;
    this.pause();
    for (const call of this.#watchers.keys()) call.end({ status: STATUS.ok });
    this.#watchers.clear();
  }

  /** The methods of the service, with their paths. */
  get methods(): (readonly [string, ServedMethod])[] {
    const { check, list, watch } = Health.method;
    return [
      servedMethod(check, (call) => serveSmall(call, () => this.#check(call))),
      servedMethod(list, (call) => this.#list(call)),
      servedMethod(watch, (call) => serveSmall(call, () => this.#watch(call))),
    ];
  }

  async #check(call: GrpcCall): Promise<void> {
    const found = this.#status(await nameIn(call));
    if (found === SERVICE_UNKNOWN) throw new RequestError(STATUS.notFound, 'unknown service');
    call.end({ status: STATUS.ok, response: answer(found) });
  }

  #list(call: GrpcCall): void {
    const statuses = Object.fromEntries([...this.#known].map((name) => [name, { status: this.#status(name) }]));
    const response = toBinary(HealthListResponseSchema, create(HealthListResponseSchema, { statuses }));
    call.end({ status: STATUS.ok, response });
  }

  async #watch(call: GrpcCall): Promise<void> {
    const name = await nameIn(call);
    if (this.#watchers.size >= MAX_WATCHERS)
      throw new RequestError(STATUS.resourceExhausted, `${MAX_WATCHERS} watch already`);
    this.#watchers.set(call, name);
    call.onLeave(() => this.#watchers.delete(call));
    call.outlive();
    this.#tell(call, name);
  }

  #tell(call: GrpcCall, name: string): void {
    // A watcher that has left is deleted.
    call.send(answer(this.#status(name))).catch(() => {});
  }

  #status(name: string): Status {
    if (!this.#known.has(name)) return SERVICE_UNKNOWN;
    return this.#serving ? SERVING : NOT_SERVING;
  }
}

async function nameIn(call: GrpcCall): Promise<string> {
  return smallRequest(HealthCheckRequestSchema, (await call.next()) ?? new Uint8Array()).service;
}

function answer(found: Status): Uint8Array {
  return toBinary(HealthCheckResponseSchema, create(HealthCheckResponseSchema, { status: found }));
}
