/** Marked texts that no byte of what a host holds may show: planted in keys and values, and searched in every usual form. */

import { randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A mark that no other run has: letters and digits. */
export function newMark(): string {
  return `m${randomBytes(12).toString('hex')}`;
}

/** The mark as bytes: plain, as UTF-16, in hexadecimal digits, and in base64 wherever it begins in what was encoded. */
export function formsOf(mark: string): readonly Buffer[] {
  const bytes = Buffer.from(mark);
  const base64 = [0, 1, 2].map((shift) => {
    // What stands before and behind the mark changes the outermost digits.
    const text = Buffer.concat([Buffer.alloc(shift), bytes, Buffer.alloc(2)]).toString('base64');
    const [first, last] = [Math.ceil((shift * 4) / 3), Math.floor(((shift + bytes.length) * 4) / 3)];
    return text.slice(first, last);
  });
  const hex = bytes.toString('hex');
  return [bytes, Buffer.from(mark, 'utf16le'), ...[hex, hex.toUpperCase(), ...base64].map((text) => Buffer.from(text))];
}

/** Whether bytes show the mark in any form. */
export function shows(bytes: Buffer, mark: string): boolean {
  return formsOf(mark).some((form) => bytes.includes(form));
}

/** Files below some folders, or themselves, that show the mark. */
export async function filesThatShow(mark: string, places: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const file of await filesIn(places)) if (shows(await readFile(file), mark)) found.push(file);
  return found;
}

async function filesIn(places: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const place of places) {
    const inside = await readdir(place, { recursive: true, withFileTypes: true }).catch(() => null);
    if (inside === null) files.push(place);
    else for (const entry of inside) if (entry.isFile()) files.push(join(entry.parentPath, entry.name));
  }
  return files;
}
