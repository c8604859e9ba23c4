/** The texts of a message that detectors see, collected while it is read or written. */

import type { Json } from '../../worker/json-text.ts';
import { joined, textsOf } from '../searchable-text.ts';

/** Texts of one message. What it finds is what `leavesOf` does, in another order. */
export class FoundTexts {
  readonly found: string[] = [];
  /** JSON names of fields in reach of the message, which are no data. */
  readonly #names: ReadonlySet<string>;

  constructor(names: ReadonlySet<string>) {
    this.#names = names;
  }

  /** Adds a value's texts: that of its JSON, and those that JSON shows in another form. */
  value(json: Json, hidden: readonly string[]): void {
    for (const text of textsOf(json)) this.found.push(text);
    // layer: bytes looked at as they leave
    for (const text of hidden) this.found.push(text);
  }

  /** Adds the name of a map's entry. */
  name(name: string): void {
    if (!this.#names.has(name)) this.found.push(name);
  }

  /** Adds the texts of a list, or of a map's values, as one text. */
  together(texts: readonly string[]): void {
    this.found.push(...joined(texts));
  }
}
