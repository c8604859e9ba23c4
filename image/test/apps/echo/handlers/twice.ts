/** Says everything twice. */
export function twice(text: string): string {
  return text + text;
}
