/**
 * Errors of fetching inputs and of making an image or bundle: one class, a closed list of codes.
 */

export type ImageErrorCode =
  /** No Debian mirror is known: apt's sources name none and none was given. */
  | 'mirror-unknown'
  /**
   * An input is in no place with its hash: the message names each place, with the reason why it is
   * not there.
   */
  | 'input-nowhere'
  /** Something else cannot be had: packages of npm, the index of a suite, a file of the cache. */
  | 'fetch-failed'
  /** Bytes do not have the hash or size that the lock demands. */
  | 'hash-mismatch'
  /** A lock, manifest or entry table does not have its form. */
  | 'lock-invalid'
  | 'manifest-invalid'
  /** An archive (ar, tar, compressed stream) is truncated, corrupt or larger than allowed. */
  | 'archive-invalid'
  /** An archive names a path or link that leaves its root. */
  | 'hostile-path'
  /** A file that the image needs is in none of its inputs. */
  | 'file-missing'
  /** Not the ELF, bzImage or PE file that was expected. */
  | 'binary-invalid'
  /** esbuild refused the source. */
  | 'compile-failed'
  /**
   * Handler code imports a module that a worker does not have, or a file outside of the app's
   * folder.
   */
  | 'import-forbidden'
  /** Policy and .proto files contradict each other. */
  | 'policy-mismatch'
  /** Something does not fit its format's limit. */
  | 'too-large'
  /** An output could not be written. */
  | 'output-failed'
  /** Sources to rebuild from cannot be had, or would have more done than be built. */
  | 'source-invalid'
  /** The build of the sources ended badly, or left nothing to look at. */
  | 'build-failed'
  /**
   * A release log is damaged, is not the one that its key signed last, or lacks what is asked for.
   */
  | 'log-invalid'
  /** Another process writes to the release log. */
  | 'log-busy';

/** Thrown by everything in this room; `cause` is kept. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  readonly code: ImageErrorCode;

  constructor(code: ImageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
