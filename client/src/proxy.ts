/** Plain gRPC on loopback in, attested gRPC out: for clients in any language. Messages pass as bytes. */

import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { type AddressInfo, BlockList, isIP } from 'node:net';
import { Reader } from '@enclaim/attestation/bytes';
import { type ChannelInterface as Channel, Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { type AttestedChannel, type ConnectOptions, connect } from './channel.ts';
import { ChannelError } from './errors.ts';

/** Where a proxy listens. */
export interface ListenOptions {
  /** A loopback address, or `localhost`. */
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
}

/** A proxy that listens. */
export interface RunningProxy {
  /** `HOST:PORT`. */
  readonly address: string;
  readonly channel: AttestedChannel;
  close(): Promise<void>;
}

const LARGEST_MESSAGE = 4 * 1024 * 1024;
const MOST_STREAMS = 256;
/** A message's prefix: compressed flag, u32 length. */
const PREFIX = 5;

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/**
 * Connects to `target` as `connect` does, and only then listens. Each call goes out with its metadata, deadline and
 * cancellation, and ends in DATA_LOSS where its receipt is not good.
 * @throws ChannelError `listen` for an address that other machines can reach; what `connect` throws
 */
export async function startProxy(
  target: string,
  { listen, ...options }: ConnectOptions & { readonly listen: ListenOptions },
): Promise<RunningProxy> {
  const host = loopbackAddress(listen.host);
  const channel = await connect(target, {
    ...options,
    channelOptions: { 'grpc.max_receive_message_length': LARGEST_MESSAGE, ...options.channelOptions },
  });
  const server = createServer({ settings: { maxConcurrentStreams: MOST_STREAMS, enablePush: false } });
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session)).on('error', () => session.destroy());
  });
  server.on('stream', (stream: ServerHttp2Stream, headers) => relay(channel, stream, headers));
  try {
    server.listen(listen.port, host);
    await once(server, 'listening');
  } catch (cause) {
    channel.close();
    throw new ChannelError('listen', `cannot listen on ${host}:${listen.port}: ${(cause as Error).message}`, { cause });
  }
  const { port } = server.address() as AddressInfo;
  return {
    address: isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`,
    channel,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const session of sessions) session.destroy();
      channel.close();
      await closed;
    },
  };
}

/** What comes in is neither encrypted nor authenticated: it must not come from another machine. */
function loopbackAddress(host: string): string {
  const address = host === 'localhost' ? '127.0.0.1' : host;
  const family = isIP(address);
  if (family === 0 || !loopback.check(address, family === 6 ? 'ipv6' : 'ipv4')) {
    throw new ChannelError('listen', `${host} is not a loopback address, and calls come in unprotected`);
  }
  return address;
}

/** A call that ends before it is made. */
class Malformed extends Error {
  readonly code: status;

  constructor(code: status, message: string) {
    super(message);
    this.code = code;
  }
}

/** Carries one call. */
function relay(channel: Channel, stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  stream.on('error', () => {}); // a reset; 'close' follows
  if (headers[':method'] !== 'POST' || !/^application\/grpc(\+proto)?$/.test(headers['content-type'] ?? '')) {
    stream.respond({ ':status': 415 }, { endStream: true });
    stream.resume();
    return;
  }
  const answer = new Answer(stream);
  let call: ReturnType<Channel['createCall']>;
  try {
    call = channel.createCall(headers[':path'] ?? '', deadlineOf(headers), null, null, null);
  } catch (error) {
    answer.end({ code: codeOf(error), details: (error as Error).message, metadata: new Metadata() });
    return;
  }
  stream.on('close', () => call.cancelWithStatus(status.CANCELLED, 'cancelled by the client'));
  call.start(metadataOf(headers), {
    onReceiveMetadata: (metadata) => answer.begin(metadata),
    onReceiveMessage: (message: Buffer) => {
      // The next message is asked for when this one has left: a slow reader slows the sender down.
      answer.message(message, () => call.startRead());
    },
    onReceiveStatus: (ended) => answer.end(ended),
  });
  call.startRead();
  void (async () => {
    for await (const message of messagesIn(stream)) {
      await new Promise<void>((resolve) => {
        call.sendMessageWithContext({ callback: () => resolve() }, message);
      });
    }
    call.halfClose();
  })().catch((error: unknown) => call.cancelWithStatus(codeOf(error), (error as Error).message));
}

function codeOf(error: unknown): status {
  return error instanceof Malformed ? error.code : status.CANCELLED;
}

/** The response on its way to the client. */
class Answer {
  readonly #stream: ServerHttp2Stream;

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream;
  }

  begin(metadata: Metadata): void {
    if (this.#stream.destroyed || this.#stream.headersSent) return;
    const own = { ':status': 200, 'content-type': 'application/grpc', 'grpc-accept-encoding': 'identity' };
    this.#stream.respond({ ...headersOf(metadata), ...own }, { waitForTrailers: true });
  }

  message(message: Buffer, written: () => void): void {
    if (this.#stream.destroyed) return;
    this.begin(new Metadata());
    const prefix = Buffer.alloc(PREFIX);
    prefix.writeUInt32BE(message.length, 1);
    this.#stream.write(prefix);
    this.#stream.write(message, written);
  }

  end({ code, details, metadata }: StatusObject): void {
    const stream = this.#stream;
    if (stream.destroyed) return;
    this.begin(new Metadata());
    stream.on('wantTrailers', () => {
      stream.sendTrailers({
        ...headersOf(metadata),
        'grpc-status': String(code),
        'grpc-message': encodeURIComponent(details.toWellFormed()),
      });
    });
    stream.end();
    stream.resume(); // nobody waits for what the client still sends
  }
}

/** Messages of the client's half. @throws Malformed */
async function* messagesIn(stream: ServerHttp2Stream): AsyncIterable<Buffer> {
  let held: Buffer[] = [];
  let size = 0;
  let wanted = PREFIX;
  for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    held.push(chunk);
    size += chunk.length;
    while (size >= wanted) {
      const bytes = Buffer.concat(held);
      const end = PREFIX + messageLength(bytes);
      const whole = size >= end;
      if (whole) yield bytes.subarray(PREFIX, end);
      const rest = whole ? bytes.subarray(end) : bytes;
      wanted = whole ? PREFIX : end;
      held = [rest];
      size = rest.length;
    }
  }
  if (size > 0) throw new Malformed(status.INTERNAL, 'the request ends within a message');
}

/** Length of the message behind a prefix. */
function messageLength(prefix: Uint8Array): number {
  const reader = new Reader(prefix);
  if (reader.u8() !== 0) throw new Malformed(status.UNIMPLEMENTED, 'compressed messages are not taken');
  const length = reader.u32be();
  if (length > LARGEST_MESSAGE) {
    throw new Malformed(status.RESOURCE_EXHAUSTED, `a message of ${length} bytes where ${LARGEST_MESSAGE} are allowed`);
  }
  return length;
}

const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** The time by which the call must have ended, in milliseconds since 1970. @throws Malformed */
function deadlineOf({ 'grpc-timeout': timeout }: IncomingHttpHeaders): number {
  if (timeout === undefined) return Number.POSITIVE_INFINITY;
  const [, digits, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(String(timeout)) ?? [];
  if (digits === undefined) throw new Malformed(status.INTERNAL, 'grpc-timeout is not a time');
  return Date.now() + Math.ceil(Number(digits) * (UNITS[unit] ?? 0));
}

/** Headers of the transport: each connection has its own. */
const HOP = new Set(['te', 'content-type', 'user-agent', 'host', 'connection', 'accept-encoding', 'content-length']);

function metadataOf(headers: IncomingHttpHeaders): Metadata {
  return Metadata.fromHttp2Headers(endToEnd(headers));
}

function headersOf(metadata: Metadata): OutgoingHttpHeaders {
  return endToEnd(metadata.toHttp2Headers());
}

/** What is metadata: names as gRPC allows them, and none of a transport's own. */
function endToEnd<T>(headers: Readonly<Record<string, T>>): Record<string, T> {
  const kept = ([name]: [string, T]): boolean => /^(?!grpc-)[0-9a-z_.-]+$/.test(name) && !HOP.has(name);
  return Object.fromEntries(Object.entries(headers).filter(kept));
}
