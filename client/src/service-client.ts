/**
 * A typed client of a service that protoc-gen-es describes. It gives each answer together with the
 * receipt that was checked for it.
 */

import { setImmediate } from 'node:timers/promises';
import {
  create,
  type DescMethod,
  type DescMethodBiDiStreaming,
  type DescMethodClientStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescService,
  fromBinary,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import {
  type ChannelInterface as Channel,
  Client,
  type ClientReadableStream,
  type ClientWritableStream,
  credentials,
  Metadata,
  type ServiceError,
  type StatusObject,
  status,
} from '@grpc/grpc-js';
import { CallError } from './call-error.ts';
import { ChannelError } from './errors.ts';
import type { CheckedReceipt } from './receipt-call.ts';

/** An answer of one message, with the receipt that commits to it. */
export interface Answer<Output> {
  readonly message: Output;
  readonly receipt: CheckedReceipt;
}

/**
 * An answer of many messages, to be read to its end once. A message counts only when `receipt` has
 * resolved: the receipt at the end commits to all of them.
 */
export interface AnswerStream<Output> extends AsyncIterable<Output> {
  /** Resolves at the end of the call. @throws CallError */
  readonly receipt: Promise<CheckedReceipt>;
}

/** Options of one call. */
export interface CallOptions {
  /** Cancels the call. */
  readonly signal?: AbortSignal;
  /** Milliseconds until the call ends in DEADLINE_EXCEEDED; by default there is no such end. */
  readonly timeout?: number;
  readonly metadata?: Metadata;
}

/** Messages of a request stream. They are taken no faster than the connection takes them. */
export type Requests<Input> = AsyncIterable<Input> | Iterable<Input>;

/** The methods of a service, under the names that protoc-gen-es gives them. */
export type ServiceClient<Service extends DescService> = {
  readonly [Name in keyof Service['method']]: MethodClient<Service['method'][Name]>;
};

/** One method: what it takes and gives goes by the kind of its calls. */
export type MethodClient<Method> =
  Method extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<Answer<MessageShape<O>>>
    : Method extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>, options?: CallOptions) => AnswerStream<MessageShape<O>>
      : Method extends DescMethodClientStreaming<infer I, infer O>
        ? (requests: Requests<MessageInitShape<I>>, options?: CallOptions) => Promise<Answer<MessageShape<O>>>
        : Method extends DescMethodBiDiStreaming<infer I, infer O>
          ? (requests: Requests<MessageInitShape<I>>, options?: CallOptions) => AnswerStream<MessageShape<O>>
          : never;

/** Gives a channel whose calls tell `onReceipt` of their own receipt. */
export type ChannelOf = (onReceipt: (receipt: CheckedReceipt) => void) => Channel;

/** Requests of one call that are sent before this process looks at its connections again. */
const MESSAGES_A_TURN = 16;

/** The parts of a call under way that all four kinds have. */
type Running = Pick<ClientWritableStream<Message>, 'cancel'> & {
  once(event: 'status', listener: (ended: StatusObject) => void): unknown;
  on(event: 'error', listener: () => void): unknown;
};

/** Services of the runtime itself. Their answers carry no receipt, so no typed client has them. */
const WITHOUT_RECEIPTS: ReadonlySet<string> = new Set([
  'enclaim.v1.Log',
  'enclaim.v1.Secrets',
  'enclaim.v1.Succession',
  'grpc.health.v1.Health',
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection',
]);

/**
 * Makes the client of a service.
 * @throws ChannelError `receipt` for a service of the runtime, whose answers have no receipts
 */
export function serviceClient<Service extends DescService>(
  service: Service,
  channelOf: ChannelOf,
): ServiceClient<Service> {
  if (WITHOUT_RECEIPTS.has(service.typeName))
    throw new ChannelError('receipt', `${service.typeName} gives no receipts; pass the channel as channelOverride`);
  const methods = service.methods.map((method) => [method.localName, methodClient(method, channelOf)]);
  return Object.fromEntries(methods) as ServiceClient<Service>;
}

function methodClient(method: DescMethod, channelOf: ChannelOf): unknown {
  const one = (request: unknown): Iterable<unknown> => [request];
  const many = (requests: unknown): Requests<unknown> => requests as Requests<unknown>;
  const streamsIn = method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming';
  const streamsOut = method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming';
  const requestsOf = streamsIn ? many : one;
  return streamsOut
    ? (request: unknown, options?: CallOptions) =>
        new ServiceCall(method, channelOf).stream(requestsOf(request), options)
    : (request: unknown, options?: CallOptions) =>
        new ServiceCall(method, channelOf).answer(requestsOf(request), options);
}

/**
 * One call. All four kinds are one on the wire (gRPC over HTTP/2): messages there, messages back,
 * one status.
 */
class ServiceCall {
  readonly #method: DescMethod;
  readonly #client: Client;
  readonly #end = Promise.withResolvers<CheckedReceipt>();
  /** The reason of this side, if it is this side that gave the call up. */
  #given: unknown;
  #receipt: CheckedReceipt | undefined;
  #isOver = false;

  constructor(method: DescMethod, channelOf: ChannelOf) {
    this.#method = method;
    const channelOverride = channelOf((receipt) => {
      this.#receipt = receipt;
    }) as never;
    this.#client = new Client('attested', credentials.createInsecure(), { channelOverride });
    this.#end.promise.catch(() => {});
  }

  /** A call with one answer. */
  async answer(requests: Requests<unknown>, options: CallOptions = {}): Promise<Answer<Message>> {
    let message: Message | undefined;
    const call = this.#client.makeClientStreamRequest(
      ...this.#codec(),
      options.metadata ?? new Metadata(),
      optionsOf(options),
      (_error: ServiceError | null, response?: Message) => {
        message = response;
      },
    );
    this.#watch(call, options.signal);
    void this.#send(call, requests);
    const receipt = await this.#end.promise;
    if (message === undefined) throw new ChannelError('protocol', 'the call ended well, without an answer');
    return { message, receipt };
  }

  /** A call with a stream of answers. */
  stream(requests: Requests<unknown>, options: CallOptions = {}): AnswerStream<Message> {
    const [path, serialize, deserialize] = this.#codec();
    const call = this.#client.makeBidiStreamRequest(
      path,
      serialize,
      deserialize,
      options.metadata ?? new Metadata(),
      optionsOf(options),
    );
    this.#watch(call, options.signal);
    void this.#send(call, requests);
    const receipt = this.#end.promise;
    return { receipt, [Symbol.asyncIterator]: () => this.#messages(call) };
  }

  async *#messages(call: ClientReadableStream<Message>): AsyncGenerator<Message> {
    try {
      try {
        yield* call as AsyncIterable<Message>;
      } catch {
        // The status says why, also to a caller who began to read after it had come.
      }
      await this.#end.promise;
    } finally {
      if (!this.#isOver) call.cancel();
    }
  }

  #codec(): [string, (message: Message) => Buffer, (bytes: Buffer) => Message] {
    const { parent, name, input, output } = this.#method;
    return [
      `/${parent.typeName}/${name}`,
      (message) => Buffer.from(toBinary(input, message)),
      (bytes) => fromBinary(output, bytes),
    ];
  }

  /** Settles with the status, which comes once the receipt was checked. */
  #watch(call: Running, signal: AbortSignal | undefined): void {
    const abort = (): void => this.#giveUp(call, signal?.reason);
    call.on('error', () => {}); // the status says the same, also where no reader is left
    call.once('status', (ended) => {
      this.#isOver = true;
      signal?.removeEventListener('abort', abort);
      if (this.#given !== undefined) this.#end.reject(this.#given);
      else if (ended.code !== status.OK) this.#end.reject(new CallError(ended, this.#receipt));
      else if (this.#receipt !== undefined) this.#end.resolve(this.#receipt);
      else this.#end.reject(new ChannelError('receipt', 'the answer has no receipt'));
    });
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  }

  #giveUp(call: Pick<Running, 'cancel'>, reason: unknown): void {
    if (this.#isOver) return;
    this.#given ??= reason ?? new Error('the caller gave the call up');
    call.cancel();
  }

  /**
   * Sends the requests, as fast as the connection takes them, until the call is over. A request
   * that cannot be had or encoded gives the call up.
   */
  async #send(call: ClientWritableStream<Message>, requests: Requests<unknown>): Promise<void> {
    const over = this.#end.promise.then(
      () => 'over' as const,
      () => 'over' as const,
    );
    let iterator: AsyncIterator<unknown> | Iterator<unknown> | undefined;
    try {
      iterator = Symbol.asyncIterator in requests ? requests[Symbol.asyncIterator]() : requests[Symbol.iterator]();
      for (let sent = 1; ; sent++) {
        const next = await Promise.race([iterator.next(), over]);
        if (next === 'over') break;
        if (next.done) {
          if (!this.#isOver) call.end();
          return;
        }
        const drained = Promise.withResolvers<void>();
        call.once('drain', drained.resolve);
        if (!call.write(create(this.#method.input, next.value as never))) await Promise.race([drained.promise, over]);
        call.off('drain', drained.resolve);
        // grpc-js takes a mebibyte before it says that it is full: until then no answer is read.
        if (sent % MESSAGES_A_TURN === 0) await setImmediate();
      }
    } catch (error) {
      this.#giveUp(call, error);
    }
    // A generator that the caller wrote ends with the call, so that its `finally` runs.
    await (async () => iterator?.return?.())().catch(() => {});
  }
}

function optionsOf({ timeout }: CallOptions): { deadline?: number } {
  return timeout === undefined ? {} : { deadline: Date.now() + timeout };
}
