/** Voids what was drawn before a name was told of last. */

/** Names that are told apart. **Bound**: each is an identity that asked, kept or not. */
export const MAX_FENCES = 1024;

/** For each name the instant of its last fence. Instants are counted, anew in each boot. */
export class Fences {
  /** In the order in which they were raised. */
  readonly #of = new Map<string, number>();
  #instant = 0;
  /** The last fence of all names that are told apart no longer. */
  #floor = 0;

  /** The present instant: behind the next fence of each name. */
  get instant(): number {
    return this.#instant;
  }

  /** Makes void for a name whatever was drawn until now. */
  raise(name: string): void {
    this.#of.delete(name);
    this.#of.set(name, ++this.#instant);
    const [oldest] = this.#of;
    if (this.#of.size <= MAX_FENCES || oldest === undefined) return;
    this.#of.delete(oldest[0]);
    this.#floor = oldest[1];
  }

  /** Whether what was drawn at an instant is void for a name. */
  isVoid(name: string, drawn: number): boolean {
    return drawn < (this.#of.get(name) ?? this.#floor);
  }
}
