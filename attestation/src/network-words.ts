/**
 * Words behind a base image's command line that say where the guest's addresses come from
 * (docs/operate/image.md).
 */

/** Their keys, in the one order in which a launch writes them. */
export const NETWORK_WORDS = ['ip', 'ip6', 'dns'] as const;
/** A value that is one word: addresses, lengths of prefixes, commas, names of ways. */
export const NETWORK_VALUE: RegExp = /^[0-9a-zA-Z.:,/]{1,200}$/;

/**
 * A command line without the words of the network at its end. They differ from machine to machine,
 * while an image is released once for all.
 *
 * **Trust**: the host chooses their values anyway, and the guest treats the host's network as
 * hostile.
 */
export function withoutNetwork(commandLine: string): string {
  const words = commandLine.split(' ');
  for (const key of [...NETWORK_WORDS].reverse()) {
    const prefix = `enclaim.${key}=`;
    const last = words.at(-1) ?? '';
    if (last.startsWith(prefix) && NETWORK_VALUE.test(last.slice(prefix.length))) words.pop();
  }
  return words.join(' ');
}
