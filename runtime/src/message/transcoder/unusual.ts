/** How a transcoder says that it leaves a message to the walk over the whole message. */

/** Thrown for a message that is left to the reference. It tells no reason. */
const UNUSUAL: Error = new RangeError('not a usual message');

/**
 * Leaves the message to the reference.
 *
 * **Cost**: it throws one error made in advance. An error of its own, with its stack, would cost
 * more than the message.
 */
export function unusual(): never {
  throw UNUSUAL;
}
