/** Part of the realm: all that calls share is frozen. */

// biome-ignore-start lint/suspicious/noExplicitAny: objects of a realm are of any kind
/**
 * Freezes everything that can be reached in the realm, by name or by syntax alone.
 *
 * @param shared more to freeze, with all that it leads to
 */
export function freezeRealm(shared: readonly unknown[]): void {
  const global: any = globalThis;
  // Objects of kinds that no global names, reachable by syntax alone.
  const stack = Object.getOwnPropertyDescriptor(new Error(), 'stack');
  const hidden: unknown[] = [
    function* () {},
    async () => {},
    async function* () {},
    [][Symbol.iterator](),
    new Map().entries(),
    new Set().values(),
    ''[Symbol.iterator](),
    'a'.matchAll(/a/g),
    [].values().map((it) => it),
    Iterator.from({ next: () => ({ done: true, value: undefined }) } as any),
    new Intl.Segmenter().segment('a'),
    new Intl.Segmenter().segment('a')[Symbol.iterator](),
    (async function* () {})(),
    (function* () {})(),
    Object.getOwnPropertyDescriptor(Function.prototype, 'caller')?.get,
    stack?.get,
    stack?.set,
  ];
  const seen = new Set<object>();
  const queue: unknown[] = [global, ...shared, ...hidden];
  while (queue.length > 0) {
    const object: any = queue.pop();
    if ((typeof object !== 'object' && typeof object !== 'function') || object === null || seen.has(object)) continue;
    seen.add(object);
    queue.push(Object.getPrototypeOf(object));
    for (const key of Reflect.ownKeys(object)) {
      const found: PropertyDescriptor = Object.getOwnPropertyDescriptor(object, key) ?? {};
      queue.push(found.value, found.get, found.set);
    }
  }
  const prototypes = new Set<unknown>([...seen].map((object) => Object.getPrototypeOf(object)));
  for (const object of seen) {
    if (prototypes.has(object)) for (const key of Reflect.ownKeys(object)) assignable(object, key);
    if (object !== global) Object.freeze(object);
  }
  Object.freeze(global);

  /**
   * Turns a property of a prototype into an accessor whose setter defines the receiver's own
   * property. Without this, a frozen prototype would forbid assignment on everything that inherits
   * from it: `this.name = …` in a class of errors would throw.
   */
  function assignable(object: any, key: string | symbol): void {
    const found = Object.getOwnPropertyDescriptor(object, key) as PropertyDescriptor;
    if (!('value' in found) || found.configurable !== true) return;
    const all = [Object.prototype, Function.prototype, Error.prototype].includes(object) || object instanceof Error;
    const names = ['toString', 'toLocaleString', 'valueOf', 'toJSON', 'name', 'message', 'next', 'return', 'throw'];
    // The engine takes the slow path for arrays, promises and patterns whose constructor is an
    // accessor, so theirs stays a plain property.
    const typed = Object.getPrototypeOf(Int8Array.prototype);
    const plain =
      [Array.prototype, Promise.prototype, RegExp.prototype, typed].includes(object) ||
      Object.getPrototypeOf(object) === typed;
    const iterators = typeof object.next === 'function' || object === Iterator.prototype;
    const wanted = all || iterators || names.includes(key as string) || (key === 'constructor' && !plain);
    if (!wanted) return;
    const { value, enumerable = false } = found;
    const get = Object.freeze(() => value);
    // A method, because it needs its receiver and must have no prototype of its own.
    const { set } = Object.freeze({
      set(this: any, given: unknown) {
        if (this === object) throw new TypeError(`cannot assign to read only property ${String(key)}`);
        Object.defineProperty(this, key, { value: given, writable: true, enumerable: true, configurable: true });
      },
    });
    Object.defineProperty(object, key, { get, set: Object.freeze(set), enumerable, configurable: true });
  }
}
// biome-ignore-end lint/suspicious/noExplicitAny: objects of a realm are of any kind
