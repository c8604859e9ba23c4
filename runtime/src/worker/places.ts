/** Places in workers: which calls may run now, which wait for a place, in turn by connection, and which wait for their callers. */

import { RefusalError } from '../errors.ts';
import { reasonOf } from './call-end.ts';

/** How many calls there may be, by what they do. */
export interface Room {
  /** Calls whose handlers may run at once. */
  readonly places: number;
  /** How many of these one connection may hold. */
  readonly share: number;
  /** Calls that may wait for their first place. */
  readonly waiting: number;
  /** Calls that have begun and wait for their callers. */
  readonly away: number;
  /** Whether calls of one message go before streams. */
  readonly unaryFirst: boolean;
}

/** A call as it asks for a place. */
export interface Guest {
  /** What it is counted under. */
  readonly connection: unknown;
  readonly stream: boolean;
  /** Ends the wait. */
  readonly signal: AbortSignal;
  /** Ends the call, where its caller keeps it waiting and another needs the room. */
  readonly end: (refusal: RefusalError) => void;
}

/** The right of one call's handler to run; disposing of it gives the place back. */
export interface Place extends Disposable {
  /**
   * Gives the place back for as long as only the caller can end what is awaited. The answer comes once there is a place again, for
   * with it the handler runs on. @throws RefusalError where the call ended meanwhile; what `awaited` does
   */
  whileAway<T>(awaited: Promise<T>): Promise<T>;
}

/** Calls of one connection: how many run, those that wait for a place, and those that wait for their caller, longest first. */
interface Line {
  running: number;
  /** Those in the queue that have not begun. */
  outside: number;
  readonly queue: Waiting[];
  readonly away: Set<Guest>;
}

interface Waiting {
  readonly guest: Guest;
  /** Whether the call has begun already, and only comes back. */
  readonly begun: boolean;
  readonly grant: () => void;
  readonly refuse: (error: RefusalError) => void;
}

/** Hands places out in turn: each connection that waits gets one before any gets another. */
export class Places {
  readonly #room: Room;
  /** By connection; whose turn is next comes first. */
  readonly #lines = new Map<unknown, Line>();
  #running = 0;
  #outside = 0;
  #away = 0;

  constructor(room: Room) {
    this.#room = room;
  }

  /** Waits for a place. @throws RefusalError `budget` where too many wait; the reason of the call's end */
  async take(guest: Guest): Promise<Place> {
    await this.#wait(guest, false);
    return new HeldPlace(guest, {
      leave: () => this.#leave(guest),
      comeBack: () => this.#comeBack(guest),
      give: () => this.#give(guest),
      forget: () => this.#forget(guest),
    });
  }

  #lineOf({ connection }: Guest): Line {
    const found = this.#lines.get(connection);
    if (found !== undefined) return found;
    const line = { running: 0, outside: 0, queue: [], away: new Set<Guest>() };
    this.#lines.set(connection, line);
    return line;
  }

  /** Resolves with a place held. Nobody waits where there is one for it and nobody of its connection is before it. */
  #wait(guest: Guest, begun: boolean): Promise<void> | undefined {
    const { signal } = guest;
    const line = this.#lineOf(guest);
    if (signal.aborted) {
      this.#tidy(guest, line);
      throw reasonOf(signal);
    }
    if (line.queue.length === 0 && this.#hasPlaceFor(line)) {
      this.#running++;
      line.running++;
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
    this.#countOutside(line, waiting, 1);
    return promise;
  }

  #hasPlaceFor({ running }: Line): boolean {
    const { places, share } = this.#room;
    return this.#running < places && running < share;
  }

  /** Whoever has most waiting gives way: the newest of its calls, or the one that comes. @throws RefusalError `budget` for that one */
  #makeWay(guest: Guest, line: Line): void {
    const longest = this.#most(line, ({ outside }) => outside);
    const last = longest === line ? undefined : longest.queue.findLast(({ begun }) => !begun);
    if (last === undefined) {
      this.#tidy(guest, line);
      throw crowded();
    }
    this.#remove(longest, last);
    last.refuse(crowded());
    this.#tidy(last.guest, longest);
  }

  /** The line that has the most of something, `own` among equals. */
  #most(own: Line, count: (line: Line) => number): Line {
    let most = own;
    for (const line of this.#lines.values()) if (count(line) > count(most)) most = line;
    return most;
  }

  #give(guest: Guest): void {
    const line = this.#lineOf(guest);
    line.running--;
    this.#running--;
    this.#tidy(guest, line);
    this.#next();
  }

  /** Where too many are away, the connection that has most of them loses the one that has waited longest. */
  #leave(guest: Guest): void {
    const line = this.#lineOf(guest);
    line.away.add(guest);
    this.#give(guest);
    if (++this.#away <= this.#room.away) return;
    const heaviest = this.#most(line, ({ away }) => away.size);
    const [longest] = heaviest.away;
    if (longest === undefined) return;
    this.#forget(longest);
    longest.end(new RefusalError('budget', 'too many calls wait for their callers'));
  }

  #forget(guest: Guest): void {
    const line = this.#lineOf(guest);
    if (line.away.delete(guest)) this.#away--;
    this.#tidy(guest, line);
  }

  /** Its connection keeps its turn. */
  async #comeBack(guest: Guest): Promise<void> {
    if (this.#lineOf(guest).away.delete(guest)) this.#away--;
    await this.#wait(guest, true);
  }

  /** Hands out what places there are. */
  #next(): void {
    while (this.#running < this.#room.places) {
      const found = (this.#room.unaryFirst && this.#first(({ guest }) => !guest.stream)) || this.#first(() => true);
      if (!found) return;
      const [line, waiting] = found;
      this.#remove(line, waiting);
      this.#running++;
      line.running++;
      // Its next turn comes after everybody else's.
      this.#lines.delete(waiting.guest.connection);
      this.#lines.set(waiting.guest.connection, line);
      waiting.grant();
    }
  }

  #first(fits: (waiting: Waiting) => boolean): readonly [Line, Waiting] | undefined {
    for (const line of this.#lines.values()) {
      if (line.queue.length === 0 || !this.#hasPlaceFor(line)) continue;
      const waiting = line.queue.find(fits);
      if (waiting !== undefined) return [line, waiting];
    }
    return undefined;
  }

  #remove(line: Line, waiting: Waiting): void {
    const at = line.queue.indexOf(waiting);
    if (at < 0) return;
    line.queue.splice(at, 1);
    this.#countOutside(line, waiting, -1);
  }

  #countOutside(line: Line, { begun }: Waiting, by: 1 | -1): void {
    if (begun) return;
    line.outside += by;
    this.#outside += by;
  }

  /** Keeps nothing of a connection that has no calls. */
  #tidy({ connection }: Guest, { running, queue, away }: Line): void {
    if (running === 0 && queue.length === 0 && away.size === 0) this.#lines.delete(connection);
  }
}

function crowded(): RefusalError {
  return new RefusalError('budget', 'too many calls wait for a worker');
}

/** What a place does with the room it is in. */
interface Moves {
  readonly leave: () => void;
  readonly comeBack: () => Promise<void>;
  readonly give: () => void;
  readonly forget: () => void;
}

class HeldPlace implements Place {
  readonly #guest: Guest;
  readonly #moves: Moves;
  /** Things awaited that only the caller can end. */
  #awaited = 0;
  #state: 'held' | 'away' | 'returning' | 'over' = 'held';

  constructor(guest: Guest, moves: Moves) {
    this.#guest = guest;
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
    if (this.#state === 'held') this.#moves.give();
    else this.#moves.forget();
    this.#state = 'over';
  }

  #goAway(): void {
    if (this.#state !== 'held' || this.#awaited === 0) return;
    this.#state = 'away';
    this.#moves.leave();
  }

  async #return(): Promise<void> {
    this.#state = 'returning';
    await this.#moves.comeBack();
    // The call may have ended while it waited.
    if (this.#over) {
      this.#moves.give();
      throw reasonOf(this.#guest.signal);
    }
    this.#state = 'held';
    this.#goAway();
  }

  get #over(): boolean {
    return this.#state === 'over';
  }
}
