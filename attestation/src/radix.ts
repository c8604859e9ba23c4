/**
 * Hexadecimal and base64 (RFC 4648) by hand, for engines whose byte arrays cannot do it themselves:
 * Node before 25, and browsers from before 2025. They take exactly what the engines' own take.
 */

type Alphabet = 'base64' | 'base64url';

const CHARACTERS: Readonly<Record<Alphabet, RegExp>> = {
  base64: /^[A-Za-z0-9+/]*={0,2}$/,
  base64url: /^[A-Za-z0-9_-]*={0,2}$/,
};

/** Lower-case hexadecimal. */
export function writeHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @throws SyntaxError for an odd number of characters, or another one than 0-9, a-f and A-F */
export function readHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || /[^0-9a-fA-F]/.test(text)) throw new SyntaxError('not hexadecimal');
  return Uint8Array.from({ length: text.length / 2 }, (_, at) => Number.parseInt(text.slice(2 * at, 2 * at + 2), 16));
}

/** Base64 with padding. */
export function writeBase64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}

/** @throws SyntaxError for what is no padded base64, or has bits behind its last byte */
export function readBase64(text: string, alphabet: Alphabet): Uint8Array {
  const plain = alphabet === 'base64' ? text : text.replaceAll('-', '+').replaceAll('_', '/');
  if (text.length % 4 !== 0 || !CHARACTERS[alphabet].test(text)) throw new SyntaxError(`not ${alphabet}`);
  const bytes = Uint8Array.from(atob(plain), (character) => character.charCodeAt(0));
  if (writeBase64(bytes) !== plain) throw new SyntaxError(`bits behind the last byte in ${alphabet}`);
  return bytes;
}
