/**
 * grpc.health.v1.Health: NOT_SERVING until there is evidence and a log, and again once the runtime
 * closes.
 */

import { create, toBinary } from '@bufbuild/protobuf';
import {
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import {
  Health,
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus,
  HealthCheckResponseSchema,
  HealthListResponseSchema,
} from '../gen/grpc/health/v1/health_pb.js';
import { type RawService, rawService } from './raw-service.ts';
import { RequestError, smallRequest } from './small-requests.ts';

type Status = HealthCheckResponse_ServingStatus;
/** Concurrent watches. A watch has no end of its own, and each holds a stream. */
const MAX_WATCHERS = 1024;
const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;

/** The health of the runtime and of every service that it exposes. All have the same status. */
export class HealthService {
  readonly #known: ReadonlySet<string>;
  /** The calls that watch, by the function that sends them the status. */
  readonly #watchers = new Map<() => void, ServerWritableStream<Buffer, Buffer>>();
  #serving = false;

  /** @param services full names of the exposed services; the empty name is the runtime itself */
  constructor(services: Iterable<string>) {
    this.#known = new Set(['', ...services]);
  }

  /** Turns the status to SERVING. */
  serve(): void {
    this.#serving = true;
    for (const tell of this.#watchers.keys()) tell();
  }

  /** Turns the status to NOT_SERVING. */
  pause(): void {
    this.#serving = false;
    for (const tell of this.#watchers.keys()) tell();
  }

  /** Turns the status to NOT_SERVING and ends all watches. */
  stop(): void {
    this.pause();
    for (const call of this.#watchers.values()) call.end();
  }

  get definition(): RawService {
    return rawService(Health);
  }

  get implementation(): UntypedServiceImplementation {
    return {
      Check: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
        const name = nameIn(call.request);
        if (name instanceof RequestError) return done({ code: name.code, details: name.message });
        const found = this.#status(name);
        if (found === SERVICE_UNKNOWN) done({ code: status.NOT_FOUND, details: 'unknown service' });
        else done(null, answer(found));
      },
      List: (_call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
        const statuses = Object.fromEntries([...this.#known].map((name) => [name, { status: this.#status(name) }]));
        done(null, Buffer.from(toBinary(HealthListResponseSchema, create(HealthListResponseSchema, { statuses }))));
      },
      Watch: (call: ServerWritableStream<Buffer, Buffer>) => {
        const name = nameIn(call.request);
        if (name instanceof RequestError) {
          call.emit('error', { code: name.code, details: name.message });
          return;
        }
        if (this.#watchers.size >= MAX_WATCHERS) {
          call.emit('error', { code: status.RESOURCE_EXHAUSTED, details: `${MAX_WATCHERS} watch already` });
          return;
        }
        const tell = (): void => void call.write(answer(this.#status(name)));
        this.#watchers.set(tell, call);
        call.on('close', () => this.#watchers.delete(tell));
        call.on('cancelled', () => this.#watchers.delete(tell));
        tell();
      },
    };
  }

  #status(name: string): Status {
    if (!this.#known.has(name)) return SERVICE_UNKNOWN;
    return this.#serving ? SERVING : NOT_SERVING;
  }
}

function nameIn(request: Uint8Array): string | RequestError {
  try {
    return smallRequest(HealthCheckRequestSchema, request).service;
  } catch (error) {
    if (error instanceof RequestError) return error;
    throw error;
  }
}

function answer(found: Status): Buffer {
  return Buffer.from(toBinary(HealthCheckResponseSchema, create(HealthCheckResponseSchema, { status: found })));
}
