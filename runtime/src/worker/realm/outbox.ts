/**
 * Part of the realm: messages to the runtime. The outside fetches them after each turn of the loop.
 */

/** Messages that were not fetched yet. */
export interface RealmOutbox {
  /**
   * A message as text, and the value that it carries (protocol.ts).
   * @throws TypeError for a value without JSON
   */
  readonly written: (message: object, carried?: { readonly value: unknown }) => string;
  /** The last message of a call with its response. @throws TypeError as {@link written} */
  readonly done: (call: number, response: unknown) => string;
  /** Adds a message that is written. */
  readonly put: (text: string) => void;
  /**
   * Messages since the last time, or the empty text. Each begins with a line feed and three spaces,
   * in whose place the outside writes its length.
   */
  readonly take: () => string;
}

/** Makes an empty one. */
export function realmOutbox(): RealmOutbox {
  const { stringify } = JSON;
  let said = '';
  const valued = (message: string, value: unknown): string => {
    const json = stringify(value);
    if (json === undefined) throw new TypeError('a value without a JSON form');
    return `${message}\t${json}`;
  };
  return {
    written: (message, carried) =>
      carried === undefined ? stringify(message) : valued(stringify(message), carried.value),
    done: (call, response) => valued(`{"kind":"done","call":${call}}`, response),
    put: (text) => {
      said += `\n   ${text}`;
    },
    take: () => {
      const text = said;
      said = '';
      return text;
    },
  };
}
