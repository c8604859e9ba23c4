/**
 * Attacks of the network: whoever can open a connection holds it, floods it, or says on it what no client would. Limits in time
 * and number are made small, the same for the attack and for its control.
 */

import { createHook } from 'node:async_hooks';
import { once } from 'node:events';
import { createServer, type Http2Server, type ServerOptions } from 'node:http2';
import { connect, createConnection, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { gzipSync } from 'node:zlib';
import { makeBootKeys } from '../../runtime/src/boot/keys.ts';
import { type Attack, comes, lasts } from './attack.ts';
import {
  block,
  CALL,
  endsStream,
  type Fields,
  FLAG,
  FRAME,
  type Frame,
  frame,
  NOTE,
  RawConnection,
  setting,
} from './raw-http2.ts';
import { serve } from './served.ts';
import { both, type Weakness } from './weakened.ts';

const ECHO = {
  Sum: 'return { key: request.key }',
  Watch: "const load = btoa('x'.repeat(60000)); for (;;) yield { load };",
  Collect: 'for await (const _ of request) await new Promise(() => {})',
};
const INITIAL_WINDOW = 4;

interface NetworkAttack {
  readonly layer: string;
  /** Limits made small. */
  readonly scaled?: Weakness;
  /** Where the layer has no mark of its name: the marks that are off, or other limits; where it is the library's, another attempt. */
  readonly off?: Weakness | (() => Promise<boolean>);
  readonly succeeds: (port: number) => Promise<boolean>;
}

/** Whether a connection stays open, for so many milliseconds. */
async function stays(connection: RawConnection, milliseconds: number): Promise<boolean> {
  const on = await lasts(() => connection.closed, milliseconds);
  connection.close();
  return on;
}

/** The same of a socket on which no HTTP/2 was begun. */
async function staysOpen(socket: Socket): Promise<boolean> {
  const on = await lasts(() => socket.destroyed || socket.readyState !== 'open', 1500);
  socket.destroy();
  return on;
}

/** Whether a call is neither refused nor ended, for so many milliseconds. */
async function goesOn(connection: RawConnection, milliseconds: number): Promise<boolean> {
  const isOver = ({ type, stream, flags }: Frame): boolean =>
    type === FRAME.goaway || type === FRAME.reset || (stream === 1 && (flags & FLAG.endStream) !== 0);
  const on = await lasts(() => connection.closed || connection.frames.some(isOver), milliseconds);
  connection.close();
  return on;
}

/** Whether a call that its caller does not complete, or whose answer it does not take, is kept. */
async function keeps(port: number, begin: (it: RawConnection) => void): Promise<boolean> {
  const connection = (await RawConnection.open(port)).greet(setting(INITIAL_WINDOW, 0));
  begin(connection);
  return goesOn(connection, 2500);
}

/** Whether a connection of a client that reads nothing keeps others out, once what it sends has been sent. */
async function keepsItsPlace(port: number, begin: (it: RawConnection) => void): Promise<boolean> {
  const connection = (await RawConnection.open(port)).greet();
  await connection.until(({ type }) => type === FRAME.settings);
  connection.socket.pause();
  begin(connection);
  const letIn = (): Promise<boolean> =>
    RawConnection.open(port).then(
      (other) => {
        other.close();
        return true;
      },
      () => false,
    );
  const kept = await lasts(letIn, 4000);
  connection.close();
  return kept;
}

/** Whether a call is answered by a message. However it is answered, it ends. */
async function answers(port: number, fields: Fields, ...parts: readonly Buffer[]): Promise<boolean> {
  const connection = (await RawConnection.open(port)).greet();
  connection.send(frame(FRAME.headers, FLAG.endHeaders, 1, block(fields)));
  for (const part of parts) connection.send(frame(FRAME.data, 0, 1, part));
  connection.send(frame(FRAME.data, FLAG.endStream, 1));
  await connection.until(({ type, flags, stream }) => stream === 1 && endsStream(type, flags));
  const answered = connection.frames.some(({ type, stream }) => type === FRAME.data && stream === 1);
  connection.close();
  return answered;
}

/** What a call of another method starts with. */
function to(method: string): Fields {
  return CALL.map(([name, value]) => [name, name === ':path' ? method : value]);
}

/** A plain HTTP/2 server behind TLS whose library was given other limits. */
async function plain(options: ServerOptions, attack: (port: number) => Promise<boolean>): Promise<boolean> {
  const keys = makeBootKeys();
  const inner: Http2Server = createServer(options, (_request, response) => response.end('x'));
  inner.on('sessionError', () => {});
  const tls = { key: keys.tls.key, cert: keys.certificate(new Uint8Array()), ALPNProtocols: ['h2'] };
  const outer = createTlsServer(tls, (socket) => {
    socket.on('error', () => {});
    inner.emit('connection', socket);
  });
  outer.listen(0, '127.0.0.1');
  await once(outer, 'listening');
  try {
    return await attack((outer.address() as { port: number }).port);
  } finally {
    outer.close();
  }
}

/** Whether a connection with so many streams that were begun and reset is still welcome. */
async function resets(port: number): Promise<boolean> {
  const connection = (await RawConnection.open(port)).greet();
  await connection.until(({ type }) => type === FRAME.settings);
  for (let stream = 1; stream < 8000 && !connection.ended; stream += 2) {
    const cancel = frame(FRAME.reset, 0, stream, Buffer.of(0, 0, 0, 8));
    connection.send(frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, stream, block(CALL)), cancel);
    if (stream % 501 === 0) await sleep(1);
  }
  connection.send(PING);
  await connection.until(({ type }) => type === FRAME.ping || type === FRAME.goaway);
  const { ended } = connection;
  connection.close();
  return !ended;
}

/** Whether a block of headers in so many pieces is taken. */
async function continued(port: number, pieces: number): Promise<boolean> {
  const connection = (await RawConnection.open(port)).greet();
  connection.send(frame(FRAME.headers, FLAG.endStream, 1, block(CALL)));
  for (let at = 0; at < pieces; at++) connection.send(frame(FRAME.continuation, 0, 1, block([[`x-${at}`, 'y']])));
  connection.send(frame(FRAME.continuation, FLAG.endHeaders, 1));
  const answer = await connection.until(
    ({ type, stream, flags }) => type === FRAME.goaway || (stream === 1 && (flags & FLAG.endStream) !== 0),
  );
  connection.close();
  return answer?.type === FRAME.headers;
}

/** Whether a request with so many fields is taken. */
async function crowded(port: number, fields: number): Promise<boolean> {
  const many: Fields = [...CALL, ...Array.from({ length: fields }, (_, at) => [`x-${at}`, 'y'] as const)];
  const connection = (await RawConnection.open(port)).greet();
  connection.send(frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 1, block(many)));
  const answer = await connection.until(({ type, stream }) => stream === 1 || type === FRAME.goaway);
  connection.close();
  return answer?.type === FRAME.headers;
}

/** Whether so many frames that ask for an answer are borne from a client that reads none. */
async function flooded(port: number, one: Buffer, count: number): Promise<boolean> {
  const connection = (await RawConnection.open(port)).greet();
  connection.socket.pause();
  const many = Buffer.concat(Array.from({ length: 500 }, () => one));
  for (let sent = 0; sent < count && !connection.socket.destroyed; sent += 500) {
    connection.send(many);
    await sleep(1);
  }
  connection.socket.resume();
  const borne = await lasts(() => connection.ended, 400);
  connection.close();
  return borne;
}

/** A message of gRPC with another length before it than it has, or compressed. */
function prefixed(length: number, message: Buffer, compressed = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt8(compressed, 0);
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, message]);
}

const PING = frame(FRAME.ping, 0, 0, Buffer.alloc(8));
const SETTINGS = frame(FRAME.settings, 0, 0, setting(INITIAL_WINDOW, 65_535));
const MIB = 1024 * 1024;

/** No call is long here, so that no stream has to be. */
const SHORT_STREAMS: Weakness = { constants: { 'LIMITS.stream': 600, 'LIMITS.taking': -30_000 } };
/** Connections are looked at often. */
const OFTEN: Weakness = { constants: { LOOK_MS: 200 } };
const SHORT_CALLS: Weakness = { constants: { 'LIMITS.call': 600 } };
/** Room for one connection, which is idle soon. */
const ONE_PLACE: Weakness = { constants: { ...OFTEN.constants, ...SHORT_CALLS.constants, MAX_CONNECTIONS: 1 } };
const SHORT_HANDSHAKE: Weakness = { constants: { HANDSHAKE_MS: 400 } };
const SHORT_TLS: Weakness = { constants: { TLS_HANDSHAKE_MS: 400 } };

const ATTACKS: Readonly<Record<string, NetworkAttack>> = {
  'speak HTTP/2 without TLS': {
    layer: 'TLS',
    off: async () => {
      const open = createServer((_request, response) => response.end());
      open.on('sessionError', () => {});
      open.listen(0, '127.0.0.1');
      await once(open, 'listening');
      const answered = await inClear((open.address() as { port: number }).port);
      open.close();
      return answered;
    },
    succeeds: inClear,
  },
  'speak TLS 1.2': {
    layer: 'TLS 1.3 and nothing older',
    succeeds: async (port) => {
      const connection = await RawConnection.open(port, { maxVersion: 'TLSv1.2' });
      connection.close();
      return true;
    },
  },
  'a connection that says nothing': {
    layer: 'time for the TLS handshake',
    scaled: SHORT_TLS,
    succeeds: async (port) => {
      const socket = createConnection(port, '127.0.0.1').on('error', () => {});
      await once(socket, 'connect');
      return staysOpen(socket);
    },
  },
  'a TLS handshake that stops half-way': {
    layer: 'time for the TLS handshake',
    scaled: SHORT_TLS,
    succeeds: async (port) => {
      const socket = connect(port, '127.0.0.1').on('error', () => {});
      socket.write(Buffer.from('16030100c8010000c40303', 'hex')); // the start of a ClientHello
      await once(socket, 'connect');
      return staysOpen(socket);
    },
  },
  'a handshake of evidence that is never begun': {
    layer: 'time for the handshake',
    scaled: SHORT_HANDSHAKE,
    off: {},
    succeeds: async (port) => stays(await RawConnection.open(port, { ALPNProtocols: ['enclaim-h2'] }), 1500),
  },
  'a handshake of evidence that trickles': {
    layer: 'time for the handshake',
    scaled: SHORT_HANDSHAKE,
    off: {},
    succeeds: async (port) => {
      const connection = await RawConnection.open(port, { ALPNProtocols: ['enclaim-h2'] });
      for (const byte of [0, 0, 0, 40, 1, 2, 3]) {
        connection.send(Buffer.of(byte));
        await sleep(200);
      }
      return stays(connection, 100);
    },
  },
  'a first frame of four gigabytes before any evidence': {
    layer: 'frames of a handshake are bounded',
    off: async () => {
      // The same bytes with a length that is allowed are waited for.
      const { port, close } = await serve(ECHO);
      const waits = await announces(port, 40);
      close();
      return waits;
    },
    succeeds: (port) => announces(port, 0xffffffff),
  },
  'garbage in place of a hello': {
    layer: 'messages of a handshake are parsed',
    off: async () => {
      const { port, close } = await serve(ECHO);
      const waits = await announces(port, 2000, 1000);
      close();
      return waits;
    },
    succeeds: (port) => announces(port, 1000, 1000),
  },
  'connections without end': {
    layer: 'number of connections',
    scaled: { constants: { MAX_CONNECTIONS: 8 } },
    succeeds: async (port) => {
      const opened = await Promise.allSettled(
        Array.from({ length: 12 }, () => {
          const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] });
          return once(socket, 'secureConnect').then(() => socket);
        }),
      );
      const sockets = opened.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
      for (const socket of sockets) socket.on('error', () => {}).destroy();
      return sockets.length > 8;
    },
  },
  'a connection that calls nothing': {
    layer: 'idle connections end',
    scaled: OFTEN,
    succeeds: async (port) => stays((await RawConnection.open(port)).greet().answerPings(), 3500),
  },
  'a connection that is told to end and does not': {
    layer: 'silent connections end',
    scaled: ONE_PLACE,
    succeeds: (port) => keepsItsPlace(port, (it) => it.send(frame(FRAME.goaway, 0, 0, Buffer.alloc(8)))),
  },
  'a connection that takes nothing, full of answers': {
    layer: 'silent connections end',
    scaled: ONE_PLACE,
    succeeds: (port) =>
      keepsItsPlace(port, (it) => {
        const room = Buffer.of(0x7f, 0, 0, 0);
        it.send(
          frame(FRAME.headers, FLAG.endHeaders, 1, block(to('/lab.v1.Lab/Watch'))),
          frame(FRAME.data, FLAG.endStream, 1, NOTE),
          frame(FRAME.window, 0, 0, room),
          frame(FRAME.window, 0, 1, room),
        );
      }),
  },
  'a request that never becomes whole': {
    layer: 'life of a stream',
    scaled: SHORT_STREAMS,
    succeeds: (port) =>
      keeps(port, (it) =>
        it.send(frame(FRAME.headers, FLAG.endHeaders, 1, block(CALL)), frame(FRAME.data, 0, 1, NOTE.subarray(0, 6))),
      ),
  },
  'an answer that is never taken': {
    layer: 'life of a stream',
    scaled: SHORT_STREAMS,
    succeeds: (port) =>
      keeps(port, (it) =>
        it.send(frame(FRAME.headers, FLAG.endHeaders, 1, block(CALL)), frame(FRAME.data, FLAG.endStream, 1, NOTE)),
      ),
  },
  'an endless stream that is never read': {
    layer: 'life of a call',
    scaled: SHORT_CALLS,
    succeeds: async (port) => {
      const connection = (await RawConnection.open(port)).greet();
      connection.send(
        frame(FRAME.headers, FLAG.endHeaders, 1, block(to('/lab.v1.Lab/Watch'))),
        frame(FRAME.data, FLAG.endStream, 1, NOTE),
      );
      await sleep(1200);
      // Room for everything: an end by the runtime comes out now.
      connection.send(
        frame(FRAME.window, 0, 0, Buffer.of(0x7f, 0, 0, 0)),
        frame(FRAME.window, 0, 1, Buffer.of(0x7f, 0, 0, 0)),
      );
      return goesOn(connection, 1500);
    },
  },
  'more calls on a connection than it may have': {
    layer: 'streams of a connection',
    succeeds: async (port) => {
      const connection = (await RawConnection.open(port)).greet();
      await connection.until(({ type }) => type === FRAME.settings);
      for (let stream = 1; stream < 2 * 80; stream += 2)
        connection.send(frame(FRAME.headers, FLAG.endHeaders, stream, block(CALL)));
      return goesOn(connection, 800);
    },
  },
  'a message that announces four gigabytes': {
    layer: 'length of a message',
    succeeds: async (port) => {
      const connection = (await RawConnection.open(port)).greet();
      const message = prefixed(0xffffffff, Buffer.alloc(10));
      connection.send(frame(FRAME.headers, FLAG.endHeaders, 1, block(CALL)), frame(FRAME.data, 0, 1, message));
      return goesOn(connection, 800);
    },
  },
  'a small message that unfolds to a large one': {
    layer: 'what a message may unfold to',
    succeeds: async (port) => {
      // A Note of 3 MiB in `load`, which no echo returns.
      const note = Buffer.concat([Buffer.from([0x0a, 1, 0x6b, 0x22, 0x80, 0x80, 0xc0, 1]), Buffer.alloc(3 * MIB)]);
      const small = gzipSync(note);
      return answers(port, [...CALL, ['grpc-encoding', 'gzip']], prefixed(small.length, small, 1));
    },
  },
  'a message that is compressed, of a call that does not say how': {
    layer: 'flags of messages are looked at',
    succeeds: (port) => answers(port, CALL, prefixed(3, NOTE.subarray(5), 1)),
  },
  'a small message of many parts of gzip': {
    layer: 'what a message may unfold to',
    succeeds: async (port) => {
      const note = Buffer.concat([Buffer.from([0x0a, 1, 0x6b, 0x22, 0x80, 0x80, 0xc0, 1]), Buffer.alloc(3 * MIB)]);
      const parts = Array.from({ length: 96 }, (_, at) =>
        gzipSync(note.subarray((at * note.length) / 96, ((at + 1) * note.length) / 96)),
      );
      const small = Buffer.concat(parts);
      return answers(port, [...CALL, ['grpc-encoding', 'gzip']], prefixed(small.length, small, 1));
    },
  },
  'a health check that unfolds': {
    layer: 'what a message may unfold to',
    off: { off: ['what a message may unfold to', 'length of requests of health'] },
    succeeds: async (port) => {
      const small = gzipSync(Buffer.alloc(MIB, Buffer.of(0x78, 0)));
      return answers(
        port,
        [...to('/grpc.health.v1.Health/Check'), ['grpc-encoding', 'gzip']],
        prefixed(small.length, small, 1),
      );
    },
  },
  'a hundred messages that unfold before the second is asked for': {
    layer: 'messages unfold when they are asked for',
    succeeds: async (port) => {
      const small = gzipSync(Buffer.alloc(4 * MIB));
      const fields: Fields = [...to('/lab.v1.Lab/Collect'), ['grpc-encoding', 'gzip']];
      // As many as one frame has room for.
      const messages = Buffer.concat(Array.from({ length: 3 }, () => prefixed(small.length, small, 1)));
      const connection = (await RawConnection.open(port)).greet();
      let unfoldings = 0;
      const hook = createHook({ init: (_id, type) => void (type === 'ZLIB' && unfoldings++) }).enable();
      for (let stream = 1; stream < 70; stream += 2) {
        connection.send(frame(FRAME.headers, FLAG.endHeaders, stream, block(fields)));
        connection.send(frame(FRAME.data, 0, stream, messages));
        await connection.settled(); // the connection has room again
      }
      const unfolded = await comes(() => unfoldings > 50, 500);
      connection.close();
      hook.disable();
      return unfolded;
    },
  },
  'a health check of nothing but unknown fields': {
    layer: 'length of requests of health',
    succeeds: async (port) => {
      // Within the room that a stream has at first.
      const fields = Buffer.alloc(16_000, Buffer.of(0x78, 0));
      const message = [prefixed(3 * fields.length, fields.subarray(0, 0)), fields, fields, fields];
      return answers(port, to('/grpc.health.v1.Health/Check'), ...message);
    },
  },
  'calls begun and reset, thousands of times': {
    layer: 'rate of resets',
    off: () => plain({ streamResetBurst: 1e6, streamResetRate: 1e6 }, resets),
    succeeds: resets,
  },
  'headers continued without end': {
    layer: 'number of continuations',
    off: async () => {
      const { port, close } = await serve(ECHO);
      const taken = await continued(port, 4);
      close();
      return taken;
    },
    succeeds: (port) => continued(port, 200),
  },
  'hundreds of header fields': {
    layer: 'number of header fields',
    off: () => plain({ maxHeaderListPairs: 1000 }, (port) => crowded(port, 400)),
    succeeds: (port) => crowded(port, 400),
  },
  'pings without end from a client that reads no answer': {
    layer: 'unread answers end a connection',
    off: async () => {
      const { port, close } = await serve(ECHO);
      const borne = await flooded(port, PING, 100);
      close();
      return borne;
    },
    succeeds: (port) => flooded(port, PING, 400_000),
  },
  'settings without end from a client that reads no answer': {
    layer: 'unread answers end a connection',
    off: async () => {
      const { port, close } = await serve(ECHO);
      const borne = await flooded(port, SETTINGS, 100);
      close();
      return borne;
    },
    succeeds: (port) => flooded(port, SETTINGS, 800_000),
  },
};

/** Whether HTTP/2 in the clear is answered. */
async function inClear(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  socket.write(frame(FRAME.settings, 0, 0));
  const data = await Promise.race([once(socket, 'data').then(([bytes]) => bytes as Buffer), once(socket, 'close')]);
  socket.destroy();
  return Buffer.isBuffer(data) && data.readUInt8(3) === FRAME.settings;
}

/** Whether a handshake waits for the rest after a frame of so many bytes was announced, and so many were sent. */
async function announces(port: number, length: number, sent = 0): Promise<boolean> {
  const connection = await RawConnection.open(port, { ALPNProtocols: ['enclaim-h2'] });
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(length);
  connection.send(prefix, Buffer.alloc(sent, 0xff));
  return stays(connection, 500);
}

async function tried({ succeeds }: NetworkAttack, weakness: Weakness): Promise<boolean> {
  const { port, close } = await serve(ECHO, weakness);
  try {
    return await succeeds(port);
  } finally {
    close();
  }
}

/** Every attack of the network. */
export const networkAttacks: readonly Attack[] = Object.entries(ATTACKS).map(([name, attack]): Attack => {
  const { layer, scaled = {}, off = both(scaled, { off: [layer] }) } = attack;
  return {
    group: 'network',
    name,
    layer,
    attempt: () => tried(attack, scaled),
    control: () => (typeof off === 'function' ? off() : tried(attack, off)),
  };
});
