/**
 * The floating label of a call, in two parts. Categories that the caller sent may go back to that
 * caller; categories that were read may go where the policy says. A collection takes both. Neither
 * part ever shrinks, and the worker has no say in it.
 */
export class FloatingLabel {
  readonly #sent = new Set<string>();
  readonly #read = new Set<string>();
  #names: { readonly size: number; readonly names: readonly string[] } = { size: 0, names: [] };
  /** Whether the call has done something visible outside it. */
  acted = false;

  /** The categories of everything that the call carries, sorted. */
  get names(): readonly string[] {
    // Neither part ever shrinks: if both sizes are unchanged, so is the label.
    const size = this.#sent.size + this.#read.size;
    if (this.#names.size !== size) this.#names = { size, names: [...this.#sent.union(this.#read)].sort() };
    return this.#names.names;
  }

  /** Whether it is empty or public. */
  get open(): boolean {
    return isOpen(this.names);
  }

  /** Categories that the call has read. An answer without fields carries these. */
  get read(): ReadonlySet<string> {
    return this.#read;
  }

  /** Adds categories that the caller sent. */
  growSent(by: Iterable<string>): void {
    for (const category of by) this.#sent.add(category);
  }

  /** Adds categories that the call has read. */
  growRead(by: Iterable<string>): void {
    for (const category of by) this.#read.add(category);
  }
}

/** Whether a label is empty or public. */
export function isOpen(label: readonly string[]): boolean {
  return label.every((category) => category === 'public');
}
