/** What may be stored after a crash: each acknowledged change, and of those that were under way each as a whole or not at all. */

import assert from 'node:assert/strict';

/** What the collections have under one key. */
export interface Kept {
  readonly key: string;
  readonly left: string;
  readonly right: string;
  readonly lasting: string;
}

/** A change of one key. */
interface Change {
  readonly text: string | null;
  /** Instants of the model's own count. */
  readonly begun: number;
  acknowledged: number;
}

/** The changes of all keys. One key's changes never overlap. */
export class Model {
  readonly #changes = new Map<string, Change[]>();
  #instant = 0;
  #begun = 0;
  readonly #now: (() => number) | undefined;

  /** @param now instants in place of a count: they may stand still, and never go back */
  constructor(now?: () => number) {
    this.#now = now;
  }

  /** This instant, which a count makes a new one. */
  tick(): number {
    this.#instant = this.#now?.() ?? this.#instant + 1;
    return this.#instant;
  }

  /** Changes that were asked for. */
  get begun(): number {
    return this.#begun;
  }

  /** A change begins. @param text null where it deletes. @returns what to call once it is acknowledged */
  begin(key: string, text: string | null): () => void {
    const change = { text, begun: this.tick(), acknowledged: Number.POSITIVE_INFINITY };
    const changes = this.#changes.get(key) ?? [];
    this.#changes.set(key, changes);
    changes.push(change);
    this.#begun++;
    return () => {
      change.acknowledged = this.tick();
    };
  }

  /** What may stand under a key at an instant: what was acknowledged last, or what was under way since. */
  allowed(key: string, at: number = this.#instant): readonly (string | null)[] {
    const changes = (this.#changes.get(key) ?? []).filter(({ begun }) => begun <= at);
    const last = changes.findLastIndex(({ acknowledged }) => acknowledged <= at);
    return [last < 0 ? null : (changes[last]?.text ?? null), ...changes.slice(last + 1).map(({ text }) => text)];
  }

  /**
   * Holds what is stored against what may be.
   *
   * @param at the instant of the crash
   * @returns keys whose change under way was taken
   * @throws AssertionError for a change that is lost, half made, or that was never asked for
   */
  check(stored: readonly Kept[], at: number = this.#instant): string[] {
    const found = new Map(stored.map((kept) => [kept.key, kept]));
    for (const key of found.keys())
      assert.ok(this.#changes.has(key), `a key that no caller stored: ${key.length} characters`);
    const taken: string[] = [];
    for (const key of this.#changes.keys()) {
      const { left = '', right = '', lasting = '' } = found.get(key) ?? {};
      assert.ok(left === right && right === lasting, `half a transaction under ${key}`);
      const allowed = this.allowed(key, at);
      const which = allowed.findIndex((text) => (text ?? '') === left);
      assert.ok(which >= 0, `${key} has ${short(left)}, where ${allowed.map(short).join(' or ')} may be`);
      if (which > 0) taken.push(key);
    }
    return taken;
  }

  /** Goes on from what was found after a crash: no change is under way any more. */
  settle(stored: readonly Kept[]): string[] {
    const taken = this.check(stored);
    for (const [key, changes] of this.#changes) {
      const allowed = this.allowed(key);
      const text = stored.find((kept) => kept.key === key)?.left || null;
      changes.length = 0;
      changes.push({ text: allowed.includes(text) ? text : null, begun: 0, acknowledged: 0 });
    }
    return taken;
  }
}

function short(text: string | null): string {
  return text === null || text === '' ? 'nothing' : `${text.length} characters (${text.slice(-12)})`;
}
