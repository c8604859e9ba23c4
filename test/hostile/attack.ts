/** An attack: what it tries, the layer that must stop it, and the proof that nothing else would have. */

/** One attack of the suite. */
export interface Attack {
  readonly group: string;
  readonly name: string;
  /** What stops it. */
  readonly layer: string;
  /** Tries it with everything on; whether it succeeded. */
  attempt(): Promise<boolean>;
  /** Tries it with that layer off; it has to succeed, or the layer is not what stops it. */
  control(): Promise<boolean>;
}

/** How an attack went. */
export interface Result {
  readonly attack: Attack;
  /** `stopped` and `controlled`, or what was seen instead. */
  readonly outcome: 'stopped' | 'SUCCEEDED' | 'NO CONTROL';
}

/** Tries one. An attempt that throws was stopped; a control that throws shows nothing. */
export async function tryAttack(attack: Attack): Promise<Result> {
  if (await attack.attempt().catch(() => false)) return { attack, outcome: 'SUCCEEDED' };
  const controlled = await attack.control().catch(() => false);
  return { attack, outcome: controlled ? 'stopped' : 'NO CONTROL' };
}
