/** The proxy: plain gRPC on this machine in, attested gRPC out, for clients in any language. */

import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import {
  createServer as createHttp,
  type Http2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { type AddressInfo, BlockList, createServer, isIP, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { MAX_MESSAGE_BYTES, MAX_METADATA_BYTES } from '@enclaim/attestation/grpc-request';
import { MeteredSocket } from '@enclaim/attestation/metered-socket';
import { status } from '@grpc/grpc-js';
import { type AttestedChannel, type ConnectOptions, connect } from '../channel.ts';
import { ChannelError } from '../errors.ts';
import { type Relayed, refused, relay } from './relay.ts';
import { Shares } from './shares.ts';

/**
 * Where a proxy listens: a loopback address or `localhost`, with port 0 for a free port; or a
 * socket of the file system.
 */
export type ListenOptions = { readonly host: string; readonly port: number } | { readonly socket: string };

/** A proxy that listens. */
export interface RunningProxy {
  /** `HOST:PORT`, or `unix:PATH`. */
  readonly address: string;
  readonly channel: AttestedChannel;
  /**
   * Ends in order. It takes no further calls, and tells clients so. Calls under way get as long as
   * a runtime that ends gives its own; what is left then ends with UNAVAILABLE. Resolves within
   * that time and a little more.
   */
  drain(): Promise<void>;
  /** Ends at once, with all calls. */
  close(): Promise<void>;
}

/** Calls at once: as many as a server takes of the one connection behind the proxy. */
const MAX_STREAMS = 64;
/** Connections of clients at once. */
const MAX_CONNECTIONS = 64;
/**
 * Header pairs that Node parses of a request, beside the metadata that is allowed. The proxy
 * refuses a request with more, and says why.
 */
const MAX_HEADER_PAIRS = 2048;
/**
 * Milliseconds for calls under way once the end has begun, as from a runtime; then `TOLD_MS` for
 * telling their clients.
 */
const DRAIN_MS = 5_000;
const TOLD_MS = 1_000;
/** Mode of a socket in the file system: its owner alone may call through it. */
const OWNER_ONLY = 0o600;

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/**
 * Connects to `target` as `connect` does, and only then listens. Each call goes out with its
 * metadata, deadline and cancellation, and ends in DATA_LOSS if its receipt is not good.
 * @throws ChannelError `listen` for an address that other machines can reach; what `connect` throws
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { startProxy } from '@enclaim/client/proxy';
 *
 * const proxy = await startProxy('intake.example:443', {
 *   references: await readFile('references.json'),
 *   listen: { host: '127.0.0.1', port: 0 },
 * });
 * console.log(proxy.address); // plain gRPC of this machine's programs goes there
 * ```
 */
export async function startProxy(
  target: string,
  { listen, ...options }: ConnectOptions & { readonly listen: ListenOptions },
): Promise<RunningProxy> {
  const place = 'socket' in listen ? listen : { host: loopbackAddress(listen.host), port: listen.port };
  const channel = await connect(target, {
    ...options,
    channelOptions: { 'grpc.max_receive_message_length': MAX_MESSAGE_BYTES, ...options.channelOptions },
  });
  const entry = new Entry(channel);
  try {
    return { address: await entry.listen(place), channel, drain: () => entry.drain(), close: () => entry.close() };
  } catch (cause) {
    channel.close();
    const where = 'socket' in place ? place.socket : `${place.host}:${place.port}`;
    throw new ChannelError('listen', `cannot listen on ${where}: ${(cause as Error).message}`, { cause });
  }
}

/**
 * A loopback address as given, else an error. Incoming calls are neither encrypted nor
 * authenticated, so they must not come from another machine.
 */
function loopbackAddress(host: string): string {
  const address = host === 'localhost' ? '127.0.0.1' : host;
  const family = isIP(address);
  if (family === 0 || !loopback.check(address, family === 6 ? 'ipv6' : 'ipv4')) {
    throw new ChannelError('listen', `${host} is not a loopback address, and calls come in unprotected`);
  }
  return address;
}

/** The side of clients: their connections, and the calls under way on them. */
class Entry {
  readonly #channel: AttestedChannel;
  readonly #http: Http2Server;
  /** Connections, on their way to HTTP/2. */
  readonly #server: Server;
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #shares = new Shares(MAX_STREAMS);
  readonly #calls = new Map<ServerHttp2Stream, Relayed>();
  #ended: Promise<unknown> | undefined;
  #drained: Promise<void> | undefined;

  constructor(channel: AttestedChannel) {
    this.#channel = channel;
    this.#http = createHttp({
      maxHeaderListPairs: MAX_HEADER_PAIRS,
      settings: { maxConcurrentStreams: MAX_STREAMS, enablePush: false, maxHeaderListSize: MAX_METADATA_BYTES },
    });
    this.#server = createServer((socket) => this.#http.emit('connection', new MeteredSocket(socket)));
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#http.on('session', (session) => {
      this.#sessions.add(session);
      session.on('close', () => this.#sessions.delete(session)).on('error', () => session.destroy());
    });
    this.#http.on('stream', (stream: ServerHttp2Stream, headers, _flags, rawHeaders) => {
      stream.on('error', () => {}); // a reset; 'close' follows
      const incoming = { stream, headers, rawHeaders: rawHeaders as unknown as string[] };
      if (!refused(incoming)) this.#begin(stream, () => relay(channel, incoming));
    });
  }

  /** Listens and resolves with the address. */
  async listen(place: { host: string; port: number } | { socket: string }): Promise<string> {
    if ('socket' in place) {
      const before = process.umask(0o777 & ~OWNER_ONLY);
      try {
        this.#server.listen(place.socket); // binds at once, with the mask
      } finally {
        process.umask(before);
      }
      await once(this.#server, 'listening');
      chmodSync(place.socket, OWNER_ONLY);
      return `unix:${place.socket}`;
    }
    this.#server.listen(place.port, place.host);
    await once(this.#server, 'listening');
    const { port } = this.#server.address() as AddressInfo;
    return isIP(place.host) === 6 ? `[${place.host}]:${port}` : `${place.host}:${port}`;
  }

  drain(): Promise<void> {
    this.#drained ??= this.#drain();
    return this.#drained;
  }

  async close(): Promise<void> {
    const ended = this.#stopListening();
    for (const session of this.#sessions) session.destroy();
    this.#channel.close();
    await ended;
  }

  async #drain(): Promise<void> {
    const ended = this.#stopListening();
    for (const session of this.#sessions) session.close(); // GOAWAY, and no new calls
    await Promise.race([ended, sleep(DRAIN_MS, undefined, { ref: false })]);
    for (const call of this.#calls.values()) call.end(status.UNAVAILABLE, 'the proxy ends, and the call took too long');
    await Promise.race([ended, sleep(TOLD_MS, undefined, { ref: false })]);
    await this.close();
  }

  #stopListening(): Promise<unknown> {
    if (this.#ended === undefined) {
      this.#ended = once(this.#server, 'close');
      this.#server.close();
    }
    return this.#ended;
  }

  #begin(stream: ServerHttp2Stream, carry: () => Relayed): void {
    const { session } = stream;
    if (session === undefined) return;
    const end = this.#shares.take(session, () => this.#calls.set(stream, carry()));
    stream.once('close', () => {
      this.#calls.delete(stream);
      end();
    });
  }
}
