/** Abuse of HTTP/2 (RFC 9113, section 10.5): frames that no client needs so many of, each kind as often as it is let. */

import type { Attack } from './attack.ts';
import { block, CALL, FLAG, FRAME, frame, NOTE, RawConnection, setting } from './raw-http2.ts';
import { serve } from './served.ts';
import type { Weakness } from './weakened.ts';

/** A kind of abuse. */
export interface Abuse {
  /** What is sent first. */
  readonly first?: readonly Buffer[];
  readonly settings?: readonly Buffer[];
  /** The frames of one event; `turn` counts from 0. */
  readonly event: (turn: number) => Buffer;
  /** How many are sent: more than the meter lets pass, fewer than end a connection by Node's own limits. */
  readonly events: number;
}

/** Node ends a connection at a thousand resets, and at ten thousand frames of some kinds. */
const RESETS = 800;
const FRAMES = 5000;
const INITIAL_WINDOW = 4;
/** The first stream of a connection, which stays open, and the stream of a turn after it. */
const OPEN = 1;
const streamOf = (turn: number): number => 3 + 2 * turn;
const REQUEST = block(CALL);
const WATCH = block(CALL.map(([name, value]) => [name, name === ':path' ? '/lab.v1.Lab/Watch' : value]));
const CANCEL = Buffer.of(0, 0, 0, 8);
const ONE = Buffer.of(0, 0, 0, 1);

const begun = (stream: number): Buffer => frame(FRAME.headers, FLAG.endHeaders, stream, REQUEST);
const message = (stream: number): Buffer => frame(FRAME.data, FLAG.endStream, stream, NOTE);
const reset = (stream: number): Buffer => frame(FRAME.reset, 0, stream, CANCEL);

/** What costs the server work and is no call, by name. */
export const ABUSES: Readonly<Record<string, Abuse>> = {
  'calls reset before their message': {
    events: RESETS,
    event: (turn) => Buffer.concat([begun(streamOf(turn)), reset(streamOf(turn))]),
  },
  'calls reset after their message': {
    events: RESETS,
    event: (turn) => Buffer.concat([begun(streamOf(turn)), message(streamOf(turn)), reset(streamOf(turn))]),
  },
  pings: { events: FRAMES, event: () => frame(FRAME.ping, 0, 0, Buffer.alloc(8)) },
  settings: {
    events: FRAMES,
    event: (turn) => frame(FRAME.settings, 0, 0, setting(INITIAL_WINDOW, 60_000 + (turn % 2))),
  },
  'room for a byte of the connection': {
    events: FRAMES,
    event: () => frame(FRAME.window, 0, 0, ONE),
  },
  'room for a byte of an answer': {
    events: FRAMES,
    settings: [setting(INITIAL_WINDOW, 0)],
    first: [frame(FRAME.headers, FLAG.endHeaders, OPEN, WATCH), message(OPEN)],
    event: () => frame(FRAME.window, 0, OPEN, ONE),
  },
  priorities: { events: FRAMES, event: () => frame(FRAME.priority, 0, 5, Buffer.of(0, 0, 0, 0, 1)) },
  'farewells on a connection that stays': {
    events: FRAMES,
    first: [begun(OPEN)],
    event: () => frame(FRAME.goaway, 0, 0, Buffer.alloc(8)),
  },
  'data of nothing but padding': {
    events: FRAMES,
    first: [begun(OPEN)],
    event: () => frame(FRAME.data, FLAG.padded, OPEN, Buffer.of(3, 0, 0, 0)),
  },
  'a message byte by byte': {
    events: FRAMES,
    first: [begun(OPEN), frame(FRAME.data, 0, OPEN, Buffer.of(0, 0, 1, 0, 0))],
    event: () => frame(FRAME.data, 0, OPEN, Buffer.of(0)),
  },
  'frames of a kind that does not exist': { events: FRAMES, event: () => frame(0xfa, 0, 0) },
};

/** How an abuse ended. */
export interface Abused {
  /** Whether the connection is still served after all events. */
  readonly welcome: boolean;
  /** HTTP/2's error that it was ended with, where it was. */
  readonly error: number | undefined;
}

const MARK = Buffer.from('the end.');
/** In which each hundred has left, and the last is answered: for a machine that hangs. */
const HANG_MS = 120_000;

/** Sends all events, a hundred at a time, and asks for an answer to a ping; `between` is awaited after each hundred. */
export async function abuse(
  connection: RawConnection,
  { first = [], settings = [], event, events }: Abuse,
  between: () => Promise<unknown> = () => new Promise(setImmediate),
): Promise<Abused> {
  connection.greet(...settings);
  const ended = (): boolean => connection.closed || (connection.error ?? 0) !== 0;
  try {
    await connection.until(({ type }) => type === FRAME.settings, HANG_MS);
    connection.send(...first);
    for (let sent = 0; sent < events && !ended(); sent += 100) {
      const frames = Buffer.concat(Array.from({ length: 100 }, (_, at) => event(sent + at)));
      const left = new Promise<void>((resolve) => connection.socket.write(frames, () => resolve()));
      await Promise.race([left, connection.over]);
      await between();
    }
    connection.send(frame(FRAME.ping, 0, 0, MARK));
    const answer = await connection.until(
      ({ type, payload }) => (type === FRAME.ping && payload.equals(MARK)) || (type === FRAME.goaway && ended()),
      HANG_MS,
    );
    return { welcome: answer?.type === FRAME.ping, error: connection.error };
  } finally {
    connection.close();
  }
}

async function tried(kind: Abuse, weakness: Weakness): Promise<boolean> {
  const watch = "const load = btoa('x'.repeat(60000)); for (;;) yield { load };";
  const { port, close } = await serve({ Sum: 'return { key: request.key }', Watch: watch }, weakness);
  try {
    return (await abuse(await RawConnection.open(port), kind)).welcome;
  } finally {
    close();
  }
}

/** Every abuse, which succeeds where the connection is served on. */
export const abuseAttacks: readonly Attack[] = Object.entries(ABUSES).map(
  ([name, kind]): Attack => ({
    group: 'abuse',
    name,
    layer: 'frames are counted',
    attempt: () => tried(kind, {}),
    control: () => tried(kind, { off: ['frames are counted'] }),
  }),
);
