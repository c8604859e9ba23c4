/** Methods by path. A server answers no other path. */

import type { DescMethod } from '@bufbuild/protobuf';
import type { GrpcCall } from './grpc-call.ts';

/** A method as the channel serves it. Messages stay bytes, because a receipt commits to those. */
export interface ServedMethod {
  /** Whether requests are streams. Otherwise a call is served once its one message is there. */
  readonly streamsRequest: boolean;
  /** Serves a call, and ends it in the end. Throws nothing. */
  readonly serve: (call: GrpcCall) => void;
}

/** Methods by path, such as `/grpc.health.v1.Health/Check`. */
export type ServedMethods = ReadonlyMap<string, ServedMethod>;

/** One method and its path. */
export function servedMethod(descriptor: DescMethod, serve: ServedMethod['serve']): readonly [string, ServedMethod] {
  const { methodKind, parent, name } = descriptor;
  const streamsRequest = methodKind === 'client_streaming' || methodKind === 'bidi_streaming';
  return [`/${parent.typeName}/${name}`, { streamsRequest, serve }];
}
