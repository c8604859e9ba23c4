/** Part of the realm: UTF-8 and base64, which handlers have and the engine does not bring. */

/** Globals of handlers, by their names. */
export interface TextCodec {
  readonly TextEncoder: unknown;
  readonly TextDecoder: unknown;
  readonly atob: (text: string) => string;
  readonly btoa: (text: string) => string;
}

// biome-ignore-start lint/suspicious/noExplicitAny: objects of a realm are of any kind
/**
 * Makes the globals. It keeps the engine's own constructor of bytes, so it is called before those
 * are bounded.
 */
export function textCodec(): TextCodec {
  const Bytes = Uint8Array;
  return { TextEncoder: textEncoder(), TextDecoder: textDecoder(), ...base64() };

  function textEncoder(): unknown {
    const latin1 = (text: string): string => unescape(encodeURIComponent(text.toWellFormed()));
    return class TextEncoder {
      readonly encoding = 'utf-8';
      encode(text = ''): Uint8Array {
        return Bytes.from(latin1(String(text)), (character) => character.charCodeAt(0));
      }
    };
  }

  function textDecoder(): unknown {
    const lengthAt = (bytes: Uint8Array, at: number): number => {
      const first = bytes[at] ?? 0;
      const length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
      return length;
    };
    return class TextDecoder {
      readonly encoding = 'utf-8';
      readonly fatal: boolean;
      constructor(encoding = 'utf-8', { fatal = false } = {}) {
        if (!/^utf-?8$/i.test(encoding)) throw new RangeError(`no encoding ${encoding} here`);
        this.fatal = fatal;
      }
      decode(input: any = new Bytes()): string {
        const bytes = ArrayBuffer.isView(input)
          ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength)
          : new Uint8Array(input);
        let text = '';
        for (let at = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0; at < bytes.length; ) {
          const length = lengthAt(bytes, at);
          const character = new Bytes(bytes.buffer, bytes.byteOffset + at, Math.min(length, bytes.length - at));
          const escaped = `%${character.toHex().replace(/(..)(?=.)/g, '$1%')}`;
          try {
            if (length === 0) throw new URIError('not the start of a character');
            text += length === 1 ? String.fromCharCode(bytes[at] ?? 0) : decodeURIComponent(escaped);
            at += length;
          } catch {
            if (this.fatal) throw new TypeError('the bytes are not UTF-8');
            text += '\ufffd';
            at++;
          }
        }
        return text;
      }
    };
  }

  function base64(): { atob: (text: string) => string; btoa: (text: string) => string } {
    return {
      atob: (text) => Array.from(Bytes.fromBase64(text), (byte) => String.fromCharCode(byte)).join(''),
      btoa: (text) =>
        Bytes.from(String(text), (character) => {
          if (character.charCodeAt(0) > 0xff) throw new RangeError('a character over 255');
          return character.charCodeAt(0);
        }).toBase64(),
    };
  }
}
// biome-ignore-end lint/suspicious/noExplicitAny: objects of a realm are of any kind
