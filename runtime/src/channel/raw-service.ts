/**
 * gRPC service definitions whose messages stay bytes: a receipt commits to the bytes on the wire.
 */

import type { DescMethod, DescService } from '@bufbuild/protobuf';
import type { MethodDefinition } from '@grpc/grpc-js';

/** A definition by method name, as grpc-js takes it. */
export type RawService = Record<string, MethodDefinition<Buffer, Buffer>>;

/** The definition of a whole service. */
export function rawService(service: DescService): RawService {
  return Object.fromEntries(service.methods.map((method) => [method.name, rawMethod(method)]));
}

/** The definition of one method. */
export function rawMethod(method: DescMethod): MethodDefinition<Buffer, Buffer> {
  const same = (bytes: Buffer): Buffer => bytes;
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
    responseStream: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
}
