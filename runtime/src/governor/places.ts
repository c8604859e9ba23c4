/**
 * Places: which calls may run now, which wait for a place, in turn by connection, and which wait
 * for their callers. A place is one of the places in workers, or what a call declares of memory and
 * processor: amounts of one or several kinds.
 *
 * **Bound**: a connection may hold at most as much as it leaves free. Without this, a connection
 * that fills a room would keep every other connection out of it. With a fixed share, a lone
 * connection could not use what is there.
 */

import type { CallSignal } from '../call-signal.ts';
import { RefusalError } from '../errors.ts';
import { LiveMap } from '../live-map.ts';
import { reasonOf } from './deadline.ts';

/** An amount of each kind of resource. A room and its guests have the same kinds, in integers. */
export type Amounts = readonly number[];

/** The amounts of a room, and how many calls may wait for them. */
export interface Room {
  /** Amounts that all calls together may hold. */
  readonly whole: Amounts;
  /** Calls that may wait for their first place. */
  readonly waiting: number;
  /** Calls that have begun and wait for their callers. */
  readonly away: number;
  /** Whether calls of one message go before streams. */
  readonly unaryFirst: boolean;
  /** Message of the refusal if too many calls are waiting. */
  readonly crowded: string;
}

/** A call as it asks for a place. */
export interface Guest {
  /** Key of the connection under which the call is counted. */
  readonly connection: unknown;
  readonly stream: boolean;
  /** Ends the wait. */
  readonly signal: CallSignal;
  /** Ends the call if its caller keeps it waiting and another call needs the room. */
  readonly end: (refusal: RefusalError) => void;
}

/**
 * The amounts that a call holds while its handler may run, and those it keeps while it waits for
 * its caller.
 */
export interface Load {
  readonly running: Amounts;
  readonly away: Amounts;
}

/** Milliseconds for which a silent caller's call may keep what another call waits for. */
export const KEEPS_MS = 1000;

/** The right of one call's handler to run; disposing of it gives the place back. */
export interface Place extends Disposable {
  /**
   * Gives the place back while only the caller can end what is awaited. Resolves after the call has
   * a place again, because its handler then runs on.
   *
   * @throws RefusalError if the call ended meanwhile; any error of `awaited`
   */
  whileAway<T>(awaited: Promise<T>): Promise<T>;
}

/** Calls of one connection. */
interface Line {
  readonly held: number[];
  /** Calls that have begun. */
  calls: number;
  /** Waiting calls that have not begun. */
  outside: number;
  readonly queue: Waiting[];
  /** Calls that wait for their caller, longest first. */
  readonly away: Set<Guest>;
  /** Calls of `away` that keep something, with the time since when. */
  readonly keeping: Map<Guest, number>;
}

interface Waiting {
  readonly guest: Guest;
  /** Amounts that it asks for, beyond those it has. */
  readonly takes: Amounts;
  /** Whether the call has begun already, and only comes back. */
  readonly begun: boolean;
  readonly grant: () => void;
  readonly refuse: (error: RefusalError) => void;
}

/** Hands places out in turn: each connection that waits gets one before any gets another. */
export class Places {
  readonly #room: Room;
  /** Lines by connection; the next in turn comes first. */
  readonly #lines = new LiveMap<unknown, Line>();
  readonly #held: number[];
  /** The effects of places on this room, the same for each of them. */
  readonly #moves: Moves = {
    leave: (guest, load) => this.#leave(guest, load),
    comeBack: (guest, load) => this.#comeBack(guest, load),
    end: (guest, held) => this.#end(guest, held),
    drop: (guest, load) => this.#give(guest, difference(load)),
  };
  /** Calls in all lines that wait. */
  #queued = 0;
  #outside = 0;
  #away = 0;
  /**
   * The call that is being ended for what it keeps. One at a time, because the amounts that it
   * gives back may be enough.
   */
  #ending: Guest | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(room: Room) {
    this.#room = room;
    this.#held = room.whole.map(() => 0);
  }

  /**
   * Waits for a place.
   *
   * @throws RefusalError `budget` if too many calls wait; the reason of the call's end
   */
  async take(guest: Guest, load: Load): Promise<Place> {
    await this.#wait(guest, load.running, false);
    return new HeldPlace(guest, load, this.#moves);
  }

  /** A place that is free at once; undefined if the call has to {@link take} one. */
  takeFree(guest: Guest, load: Load): Place | undefined {
    if (guest.signal.aborted) return undefined;
    const line = this.#lineOf(guest);
    if (!this.#isFree(line, load.running)) {
      this.#tidy(guest, line);
      return undefined;
    }
    this.#hold(line, load.running, false);
    return new HeldPlace(guest, load, this.#moves);
  }

  #lineOf({ connection }: Guest): Line {
    const found = this.#lines.get(connection);
    if (found !== undefined) return found;
    const line: Line = {
      held: this.#room.whole.map(() => 0),
      ...{ calls: 0, outside: 0, queue: [], away: new Set(), keeping: new Map() },
    };
    this.#lines.set(connection, line);
    return line;
  }

  /**
   * Resolves with a place held: at once, if there is one and no call of its connection waits before
   * it.
   */
  #wait(guest: Guest, takes: Amounts, begun: boolean): Promise<void> | undefined {
    const { signal } = guest;
    const line = this.#lineOf(guest);
    if (signal.aborted) {
      this.#tidy(guest, line);
      throw reasonOf(signal);
    }
    if (this.#isFree(line, takes)) {
      this.#hold(line, takes, begun);
      return;
    }
    if (!begun && this.#outside >= this.#room.waiting) this.#makeWay(guest, line);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const over = (): void => {
      this.#remove(line, waiting);
      reject(reasonOf(signal));
      this.#tidy(guest, line);
    };
    const heard = (): void => signal.removeEventListener('abort', over);
    const waiting: Waiting = {
      guest,
      takes,
      begun,
      grant: () => {
        heard();
        resolve();
      },
      refuse: (error) => {
        heard();
        reject(error);
      },
    };
    signal.addEventListener('abort', over, { once: true });
    line.queue.push(waiting);
    this.#queued++;
    this.#countOutside(line, waiting, 1);
    this.#reclaim();
    return promise;
  }

  /** Whether a connection may take these amounts now, and no call of it waits before. */
  #isFree(line: Line, takes: Amounts): boolean {
    return line.queue.length === 0 && this.#hasRoomFor(line, takes);
  }

  /**
   * Whether a connection may take these amounts: they are free, and of each kind the connection
   * then holds at most what is left, or held none before.
   */
  #hasRoomFor({ held }: Line, takes: Amounts): boolean {
    for (let kind = 0; kind < takes.length; kind++) {
      const amount = takes[kind] ?? 0;
      if (amount === 0) continue;
      const own = held[kind] ?? 0;
      const left = (this.#room.whole[kind] ?? 0) - (this.#held[kind] ?? 0) - amount;
      // layer: sums of what is declared
      const fits =
        left >= 0 && /* layer: as much left as a connection holds (off: true) */ (own === 0 || own + amount <= left);
      if (!fits) return false;
    }
    return true;
  }

  #hold(line: Line, takes: Amounts, begun: boolean): void {
    if (!begun) line.calls++;
    this.#add(line, takes, 1);
  }

  #add(line: Line, amounts: Amounts, sign: 1 | -1): void {
    for (let kind = 0; kind < amounts.length; kind++) {
      const change = sign * (amounts[kind] ?? 0);
      line.held[kind] = (line.held[kind] ?? 0) + change;
      this.#held[kind] = (this.#held[kind] ?? 0) + change;
    }
  }

  /**
   * Refuses the newest waiting call of the connection that has most waiting, or the one that
   * arrives.
   *
   * @throws RefusalError `budget` if it is the one that arrives
   */
  #makeWay(guest: Guest, line: Line): void {
    const longest = this.#most(line, ({ outside }) => outside);
    const last = longest === line ? undefined : longest.queue.findLast(({ begun }) => !begun);
    if (last === undefined) {
      this.#tidy(guest, line);
      throw new RefusalError('budget', this.#room.crowded);
    }
    this.#remove(longest, last);
    last.refuse(new RefusalError('budget', this.#room.crowded));
    this.#tidy(last.guest, longest);
  }

  /** The line that has the most of something, `own` among equals. */
  #most(own: Line, count: (line: Line) => number): Line {
    let most = own;
    for (const line of this.#lines.values()) if (count(line) > count(most)) most = line;
    return most;
  }

  /** Gives amounts back, and hands out what is free then. */
  #give(guest: Guest, amounts: Amounts): void {
    const line = this.#lineOf(guest);
    // layer: one return of each
    this.#add(line, amounts, -1);
    this.#tidy(guest, line);
    this.#next();
  }

  /**
   * Marks a call as away. If too many are away, the connection with most of them loses the one that
   * has waited longest.
   */
  #leave(guest: Guest, load: Load): void {
    const line = this.#lineOf(guest);
    line.away.add(guest);
    if (load.away.some((amount) => amount > 0)) line.keeping.set(guest, performance.now());
    this.#give(guest, difference(load));
    if (++this.#away > this.#room.away) {
      const [longest] = this.#most(line, ({ away }) => away.size).away;
      if (longest !== undefined) {
        this.#isBack(longest);
        longest.end(new RefusalError('budget', 'too many calls wait for their callers'));
      }
    }
    this.#reclaim();
  }

  #isBack(guest: Guest): void {
    const line = this.#lineOf(guest);
    line.keeping.delete(guest);
    if (line.away.delete(guest)) this.#away--;
  }

  #end(guest: Guest, held: Amounts): void {
    this.#isBack(guest);
    this.#lineOf(guest).calls--;
    if (this.#ending === guest) this.#ending = undefined;
    this.#give(guest, held);
    this.#reclaim();
  }

  /** Takes the place again. The connection keeps its turn. */
  async #comeBack(guest: Guest, load: Load): Promise<void> {
    this.#isBack(guest);
    await this.#wait(guest, difference(load), true);
  }

  /**
   * Ends the call that keeps something and has waited longest for its caller, of the connection
   * that keeps most, if a connection with fewer calls waits for a place.
   *
   * **Bound**: without this, callers that send nothing would keep what their calls declare until
   * the wall time of the policy.
   */
  #reclaim(): void {
    // layer: silence keeps nothing that another needs (off: true)
    if (this.#queued === 0 || this.#ending !== undefined || this.#timer !== undefined) return;
    let heaviest: Line | undefined;
    for (const line of this.#lines.values()) if (line.keeping.size > (heaviest?.keeping.size ?? 0)) heaviest = line;
    if (heaviest === undefined) return;
    const { calls, keeping } = heaviest;
    if (!this.#lines.values().some((line) => line.queue.length > 0 && line.calls < calls)) return;
    const [longest] = keeping;
    if (longest === undefined) return;
    const [guest, since] = longest;
    const left = since + KEEPS_MS - performance.now();
    if (left > 0) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#reclaim();
      }, left);
      return;
    }
    this.#ending = guest;
    keeping.delete(guest);
    guest.end(new RefusalError('budget', 'the caller let the call wait, and another needs what it keeps'));
  }

  /** Hands out all places that are free. */
  #next(): void {
    while (this.#queued > 0) {
      const found = (this.#room.unaryFirst && this.#first(({ guest }) => !guest.stream)) || this.#first(() => true);
      if (!found) return;
      const [line, waiting] = found;
      this.#remove(line, waiting);
      this.#hold(line, waiting.takes, waiting.begun);
      // Its next turn comes after those of all other connections.
      this.#lines.delete(waiting.guest.connection);
      this.#lines.set(waiting.guest.connection, line);
      waiting.grant();
    }
  }

  #first(suits: (waiting: Waiting) => boolean): readonly [Line, Waiting] | undefined {
    for (const line of this.#lines.values()) {
      const waiting = line.queue.find(suits);
      if (waiting !== undefined && this.#hasRoomFor(line, waiting.takes)) return [line, waiting];
    }
    return undefined;
  }

  #remove(line: Line, waiting: Waiting): void {
    const at = line.queue.indexOf(waiting);
    if (at < 0) return;
    line.queue.splice(at, 1);
    this.#queued--;
    this.#countOutside(line, waiting, -1);
  }

  #countOutside(line: Line, { begun }: Waiting, by: 1 | -1): void {
    if (begun) return;
    line.outside += by;
    this.#outside += by;
  }

  /** Keeps nothing of a connection that has no calls. */
  #tidy({ connection }: Guest, { calls, held, queue }: Line): void {
    if (calls === 0 && queue.length === 0 && held.every((amount) => amount === 0)) this.#lines.delete(connection);
  }
}

/** The amounts that a call gives back while it waits for its caller, and takes again. */
function difference({ running, away }: Load): Amounts {
  return running.map((amount, kind) => amount - (away[kind] ?? 0));
}

/** The effects of a place on its room. */
interface Moves {
  readonly leave: (guest: Guest, load: Load) => void;
  readonly comeBack: (guest: Guest, load: Load) => Promise<void>;
  /** Ends the call and gives back what it holds. */
  readonly end: (guest: Guest, held: Amounts) => void;
  /** Gives back what a call took again although it had ended meanwhile. */
  readonly drop: (guest: Guest, load: Load) => void;
}

class HeldPlace implements Place {
  readonly #guest: Guest;
  readonly #load: Load;
  readonly #moves: Moves;
  /** Pending promises that only the caller can settle. */
  #awaited = 0;
  #state: 'held' | 'away' | 'returning' | 'over' = 'held';

  constructor(guest: Guest, load: Load, moves: Moves) {
    this.#guest = guest;
    this.#load = load;
    this.#moves = moves;
  }

  async whileAway<T>(awaited: Promise<T>): Promise<T> {
    this.#awaited++;
    this.#goAway();
    try {
      return await awaited;
    } finally {
      this.#awaited--;
      if (this.#awaited === 0 && this.#state === 'away') await this.#return();
    }
  }

  [Symbol.dispose](): void {
    // While it is away it holds the kept part of its load.
    if (!this.#over) this.#moves.end(this.#guest, this.#state === 'held' ? this.#load.running : this.#load.away);
    this.#state = 'over';
  }

  #goAway(): void {
    if (this.#state !== 'held' || this.#awaited === 0) return;
    this.#state = 'away';
    this.#moves.leave(this.#guest, this.#load);
  }

  async #return(): Promise<void> {
    this.#state = 'returning';
    await this.#moves.comeBack(this.#guest, this.#load);
    // The call may have ended while it waited.
    if (this.#over) {
      this.#moves.drop(this.#guest, this.#load);
      throw reasonOf(this.#guest.signal);
    }
    this.#state = 'held';
    this.#goAway();
  }

  get #over(): boolean {
    return this.#state === 'over';
  }
}
