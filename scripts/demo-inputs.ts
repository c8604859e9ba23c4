/** Inputs of the demonstration: the locked ones, or substitutes if a locked one is nowhere. */

/** As `demo-inputs` decides it, by what `enclaim image inputs --substitute` left. */
export interface DemoInputs {
  /** Words for `image build` and `run`. */
  readonly words: readonly string[];
  /** Whether the image is made of what is locked. Only then an audit can rebuild it. */
  readonly published: boolean;
  /** Notice at the start and at the end; null if there is nothing to say. */
  readonly notice: string | null;
}

/** Texts of the two locks in a folder. */
export interface LockTexts {
  readonly image: string;
  readonly machine: string;
}

/**
 * Decides.
 * @param folder - Where the locks with stand-ins are.
 * @param own - Them, or null where every input is as locked, so that none were written.
 */
export function decideInputs(folder: string, committed: LockTexts, own: LockTexts | null): DemoInputs {
  if (own === null) return { words: [], published: true, notice: null };
  const published = own.image === committed.image;
  return {
    words: ['--locks', folder],
    published,
    notice: published
      ? 'QEMU or its firmware is a newer one than is locked: the image and its measurement are the published ones'
      : 'THIS IS NOT THE PUBLISHED MEASUREMENT: a locked input is nowhere, and the newest of its suite stands in for it',
  };
}
