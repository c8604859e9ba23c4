/** Calls of enclaim.v1.Log over a channel, each within its limits. */

import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { MAX_MESSAGE_BYTES } from '@enclaim/attestation/grpc-request';
import {
  type ChannelInterface as Channel,
  Client,
  credentials,
  type Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { LogError } from './log-error.ts';

/** Characters of a refusal that are passed on. */
const MAX_REASON_CHARS = 1024;

/** Limits of a call. */
interface CallLimits {
  readonly metadata: Metadata;
  /** Milliseconds. */
  readonly timeout: number;
}

/** Calls one method after another. */
export class LogCalls {
  readonly #client: Client;

  constructor(channel: Channel) {
    this.#client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
  }

  /** The answer of a method with one. @throws LogError `refused`, `answer` */
  ask<Method extends DescMethod>(
    method: Method,
    request: MessageInitShape<Method['input']>,
    { metadata, timeout }: CallLimits,
  ): Promise<MessageShape<Method['output']>> {
    const { promise, resolve, reject } = Promise.withResolvers<MessageShape<Method['output']>>();
    this.#client.makeUnaryRequest(
      pathOf(method),
      same,
      same,
      encoded(method, request),
      metadata,
      { deadline: Date.now() + timeout },
      (error, answer) => {
        if (error) reject(failed(error));
        else resolve((async () => decoded(method, answer ?? Buffer.alloc(0)))());
      },
    );
    return promise;
  }

  /**
   * The answers of a method with a stream of them, one at a time; ends well where the server ends
   * it so.
   *
   * @param silence milliseconds without an answer after which it ends well, too
   * @throws LogError `refused`, `answer`
   */
  async *follow<Method extends DescMethod>(
    method: Method,
    request: MessageInitShape<Method['input']>,
    { metadata, silence, signal }: { metadata: Metadata; silence: number; signal: AbortSignal | undefined },
  ): AsyncGenerator<MessageShape<Method['output']>> {
    const stream = this.#client.makeServerStreamRequest(pathOf(method), same, same, encoded(method, request), metadata);
    let isSilent = false;
    const quiet = setTimeout(() => {
      isSilent = true;
      stream.cancel();
    }, silence);
    const abort = (): void => stream.cancel();
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted) abort();
    try {
      for await (const bytes of stream as AsyncIterable<Buffer>) {
        quiet.refresh();
        yield decoded(method, bytes);
      }
    } catch (error) {
      if (signal?.aborted || isSilent) return;
      throw error instanceof LogError ? error : failed(error as ServiceError);
    } finally {
      clearTimeout(quiet);
      signal?.removeEventListener('abort', abort);
      stream.on('error', () => {}).cancel();
    }
  }
}

function same(bytes: Buffer): Buffer {
  return bytes;
}

function pathOf({ parent, name }: DescMethod): string {
  return `/${parent.typeName}/${name}`;
}

function encoded<Method extends DescMethod>({ input }: Method, request: MessageInitShape<Method['input']>): Buffer {
  return Buffer.from(toBinary(input, create(input, request)));
}

function decoded<Method extends DescMethod>(method: Method, bytes: Buffer): MessageShape<Method['output']> {
  try {
    return fromBinary(method.output, bytes, { readUnknownFields: false }) as MessageShape<Method['output']>;
  } catch (cause) {
    throw new LogError('answer', `${method.name}: not a ${method.output.typeName}`, { cause });
  }
}

function failed(cause: ServiceError): LogError {
  const details = String(cause.details).slice(0, MAX_REASON_CHARS);
  // The client's own words for an answer beyond its limit.
  if (cause.code === status.RESOURCE_EXHAUSTED && /larger than max/.test(details))
    return new LogError('answer', `an answer of more than ${MAX_MESSAGE_BYTES} bytes`, { cause });
  return new LogError('refused', `${status[cause.code]}: ${details}`, { cause, status: cause.code });
}
