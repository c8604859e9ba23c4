/**
 * `grpc-status-details-bin`: a google.rpc.Status with one google.rpc.ErrorInfo, which names the
 * rule of the policy that refused.
 */

import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** The trailer's name. */
export const STATUS_DETAILS = 'grpc-status-details-bin';
/** `ErrorInfo.domain` of every refusal. */
export const ERROR_DOMAIN = 'enclaim';

/** The content of a refusal: names from the policy, never data. */
export interface ErrorInfo {
  /** UPPER_SNAKE_CASE. */
  readonly reason: string;
  /** Entries such as `claim`, `rule` and `pointer`. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** Bytes of the status (google/rpc/status.proto, google/rpc/error_details.proto). */
export function statusDetails(code: number, message: string, { reason, metadata }: ErrorInfo): Uint8Array {
  const info = new BinaryWriter();
  text(info, 1, reason);
  text(info, 2, ERROR_DOMAIN);
  for (const [name, value] of Object.entries(metadata)) {
    const entry = new BinaryWriter();
    text(entry, 1, name);
    text(entry, 2, value);
    bytes(info, 3, entry.finish());
  }
  const any = new BinaryWriter();
  text(any, 1, 'type.googleapis.com/google.rpc.ErrorInfo');
  bytes(any, 2, info.finish());
  const status = new BinaryWriter();
  status.tag(1, WireType.Varint).int32(code);
  text(status, 2, message);
  bytes(status, 3, any.finish());
  return status.finish();
}

function text(writer: BinaryWriter, field: number, value: string): void {
  writer.tag(field, WireType.LengthDelimited).string(value);
}

function bytes(writer: BinaryWriter, field: number, value: Uint8Array): void {
  writer.tag(field, WireType.LengthDelimited).bytes(value);
}
