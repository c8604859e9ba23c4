/** Archives byte by byte, so that tests can make what no honest tool writes. */

export interface TarMember {
  readonly name: string;
  readonly data?: string;
  /** ustar type flag: 0 file, 1 hard link, 2 symbolic link, 3 device, 5 folder. */
  readonly type?: string;
  readonly link?: string;
  readonly mode?: number;
}

/** A ustar archive. */
export function tar(members: readonly TarMember[]): Uint8Array {
  const blocks = members.flatMap(({ name, data = '', type = '0', link = '', mode = 0o644 }) => {
    const header = Buffer.alloc(512);
    const put = (at: number, text: string): void => void header.write(text, at, 'latin1');
    put(0, name);
    put(100, `${mode.toString(8).padStart(7, '0')}\0`);
    put(108, '0000000\0');
    put(116, '0000000\0');
    put(124, `${data.length.toString(8).padStart(11, '0')}\0`);
    put(136, '00000000000\0');
    put(148, '        ');
    put(156, type);
    put(157, link);
    put(257, 'ustar\x0000');
    const sum = header.reduce((total, byte) => total + byte, 0);
    put(148, `${sum.toString(8).padStart(6, '0')}\0 `);
    const body = Buffer.alloc(Math.ceil(data.length / 512) * 512);
    body.write(data, 'latin1');
    return [header, body];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

/** An ar archive of members in order. */
export function ar(members: readonly { name: string; data: Uint8Array }[]): Uint8Array {
  const parts = members.flatMap(({ name, data }) => {
    const fields = [name.padEnd(16), '0'.padEnd(12), '0'.padEnd(6), '0'.padEnd(6), '100644'.padEnd(8)];
    const header = `${fields.join('')}${String(data.length).padEnd(10)}\`\n`;
    return [Buffer.from(header, 'latin1'), data, Buffer.from(data.length % 2 ? '\n' : '')];
  });
  return Buffer.concat([Buffer.from('!<arch>\n'), ...parts]);
}

/** A Debian package with these files. */
export function deb(members: readonly TarMember[], data = 'data.tar'): Uint8Array {
  return ar([
    { name: 'debian-binary', data: Buffer.from('2.0\n') },
    { name: 'control.tar', data: tar([]) },
    { name: data, data: tar(members) },
  ]);
}
