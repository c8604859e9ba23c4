/** What gRPC's interoperability server answers (grpc/grpc, doc/interop-test-descriptions.md), as far as handlers can. */

interface EchoStatus {
  readonly code?: number;
  readonly message?: string;
}
interface Asked {
  readonly responseSize?: number;
  readonly responseStatus?: EchoStatus;
  readonly responseParameters?: readonly { readonly size?: number }[];
  readonly payload?: { readonly body?: string };
}
declare class StatusError extends Error {
  constructor(code: string, text?: string);
}

/** The one code that the cases ask for: UNKNOWN. */
const NAMES: Readonly<Record<number, string>> = { 2: 'UNKNOWN' };

/** That many zero bytes, in base64. */
function zeros(size: number): string {
  return 'AAAA'.repeat(Math.floor(size / 3)) + ['', 'AA==', 'AAA='][size % 3];
}

/** Bytes of a text in base64. */
function sizeOf(text = ''): number {
  return (text.length / 4) * 3 - (text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0);
}

function refuse({ responseStatus: { code = 0, message = '' } = {} }: Asked): void {
  if (code !== 0) throw new StatusError(NAMES[code] ?? 'UNKNOWN', message);
}

function* answers({ responseParameters = [] }: Asked): Iterable<object> {
  for (const { size = 0 } of responseParameters) yield { payload: { body: zeros(size) } };
}

async function unary(asked: Asked): Promise<object> {
  refuse(asked);
  return { payload: { body: zeros(asked.responseSize ?? 0) } };
}

export const handlers: Readonly<Record<string, (asked: never) => unknown>> = {
  'grpc.testing.TestService/EmptyCall': async () => ({}),
  'grpc.testing.TestService/UnaryCall': unary,
  'grpc.testing.TestService/CacheableUnaryCall': unary,
  'grpc.testing.TestService/StreamingOutputCall': async function* (asked: Asked): AsyncIterable<object> {
    refuse(asked);
    yield* answers(asked);
  },
  'grpc.testing.TestService/StreamingInputCall': async (requests: AsyncIterable<Asked>): Promise<object> => {
    let size = 0;
    for await (const { payload } of requests) size += sizeOf(payload?.body);
    return { aggregatedPayloadSize: size };
  },
  'grpc.testing.TestService/FullDuplexCall': async function* (requests: AsyncIterable<Asked>): AsyncIterable<object> {
    for await (const asked of requests) {
      refuse(asked);
      yield* answers(asked);
    }
  },
  'grpc.testing.TestService/HalfDuplexCall': async function* (requests: AsyncIterable<Asked>): AsyncIterable<object> {
    for (const asked of await Array.fromAsync(requests)) yield* answers(asked);
  },
};
