/** What `grpc-status-details-bin` says of a refusal. */

import { BinaryReader } from '@bufbuild/protobuf/wire';

/** A google.rpc.ErrorInfo. */
export interface RefusalInfo {
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The ErrorInfo of a google.rpc.Status that this project wrote. */
export function refusalInfo(details: Uint8Array): RefusalInfo {
  const [any = new Uint8Array()] = fieldsOf(details).get(3) ?? [];
  const [info = new Uint8Array()] = fieldsOf(any).get(2) ?? [];
  const fields = fieldsOf(info);
  const entries = (fields.get(3) ?? []).map((entry) => {
    const parts = fieldsOf(entry);
    return [textOf(parts.get(1)), textOf(parts.get(2))];
  });
  return { reason: textOf(fields.get(1)), metadata: Object.fromEntries(entries) };
}

function textOf([bytes]: readonly Uint8Array[] = []): string {
  return new TextDecoder().decode(bytes);
}

/** Fields of bytes, by number. */
function fieldsOf(message: Uint8Array): Map<number, Uint8Array[]> {
  const found = new Map<number, Uint8Array[]>();
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (type === 2) found.set(number, [...(found.get(number) ?? []), reader.bytes()]);
    else reader.skip(type);
  }
  return found;
}
