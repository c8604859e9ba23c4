/** A DER writer for fakes: certificates and CRLs, good and bad, are made with it. */

/** One element. `tag` is the identifier octet; `parts` are joined as its contents. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = Buffer.concat(parts);
  const length: number[] = [];
  for (let rest = body.length; rest > 0; rest = Math.floor(rest / 256)) length.unshift(rest % 256);
  const header = body.length < 0x80 ? [tag, body.length] : [tag, 0x80 | length.length, ...length];
  return Buffer.concat([Uint8Array.from(header), body]);
}

export function sequence(...parts: readonly Uint8Array[]): Uint8Array {
  return der(0x30, ...parts);
}

/** A constructed, context-specific element. */
export function context(number: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return der(0xa0 | number, ...parts);
}

export function integer(value: bigint | number): Uint8Array {
  const hex = BigInt(value).toString(16);
  const even = hex.length % 2 === 0 ? hex : `0${hex}`;
  return der(0x02, Buffer.from(/^[89a-f]/.test(even) ? `00${even}` : even, 'hex'));
}

export function boolean(value: boolean): Uint8Array {
  return der(0x01, Uint8Array.of(value ? 0xff : 0));
}

export function octets(bytes: Uint8Array): Uint8Array {
  return der(0x04, bytes);
}

/** A BIT STRING of whole octets. */
export function bits(bytes: Uint8Array, unused = 0): Uint8Array {
  return der(0x03, Uint8Array.of(unused), bytes);
}

export function nothing(): Uint8Array {
  return der(0x05);
}

export function oid(dotted: string): Uint8Array {
  const [root = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const octetsOf = (arc: number): number[] => {
    const out = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) out.unshift(0x80 | (left % 128));
    return out;
  };
  return der(0x06, Uint8Array.from([root * 40 + second, ...rest].flatMap(octetsOf)));
}

/** GeneralizedTime of milliseconds since 1970. */
export function time(milliseconds: number): Uint8Array {
  const text = new Date(milliseconds).toISOString().replace(/[-T:]|\.\d+/g, '');
  return der(0x18, Buffer.from(text));
}

/** A Name of a CN, after what it says of the place. @param place Texts by object identifier. */
export function name(commonName: string, place: Readonly<Record<string, string>> = {}): Uint8Array {
  const attributes = Object.entries({ ...place, '2.5.4.3': commonName });
  return sequence(...attributes.map(([id, text]) => der(0x31, sequence(oid(id), der(0x0c, Buffer.from(text))))));
}
