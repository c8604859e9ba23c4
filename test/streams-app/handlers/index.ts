/** Handlers of all four kinds: what each does with its request is in its name. */

interface Item {
  readonly text?: string;
}
type Items = AsyncIterable<Item>;

declare const StatusError: new (code: 'NOT_FOUND', text: string) => Error;

/** Ends a call with the longest text, which a trailer cannot hold as it is. */
function notFound(): never {
  throw new StatusError('NOT_FOUND', ` ${'100 % of “case #7”: äöü, 𝄞 %41\r\n '.padStart(255, '€')}`);
}

/** Texts of all messages, as one. */
async function joined(items: Items): Promise<string> {
  let texts = '';
  for await (const { text = '' } of items) texts += text;
  return texts;
}

export const handlers: Readonly<Record<string, (request: never) => unknown>> = {
  'streams.v1.Streams/UnaryAll': async (item: Item) => item,
  'streams.v1.Streams/UnaryNone': async () => ({ text: 'none' }),
  'streams.v1.Streams/UnaryThrows': async () => {
    throw new Error('after all');
  },
  'streams.v1.Streams/UnaryStatus': async () => notFound(),
  'streams.v1.Streams/ServerAll': async function* ({ text = '' }: Item) {
    for (const each of text) yield { text: each };
  },
  'streams.v1.Streams/ServerNone': async function* () {
    // It answers with no message.
  },
  'streams.v1.Streams/ServerThrows': async function* (item: Item) {
    yield item;
    throw new Error('after all');
  },
  'streams.v1.Streams/ServerStatus': async function* (item: Item) {
    yield item;
    notFound();
  },
  'streams.v1.Streams/ClientAll': async (items: Items) => ({ text: await joined(items) }),
  'streams.v1.Streams/ClientFirst': async (items: Items) => {
    for await (const item of items) return item;
    return {};
  },
  'streams.v1.Streams/ClientNone': async () => ({ text: 'none' }),
  'streams.v1.Streams/ClientThrows': async (items: Items) => {
    await joined(items);
    throw new Error('after all');
  },
  'streams.v1.Streams/ClientStatus': async (items: Items) => {
    await joined(items);
    notFound();
  },
  'streams.v1.Streams/BidiAll': async function* (items: Items) {
    yield* items;
  },
  'streams.v1.Streams/BidiFirst': async function* (items: Items) {
    for await (const item of items) {
      yield item;
      return;
    }
  },
  'streams.v1.Streams/BidiNone': async function* () {
    yield { text: 'none' };
    yield { text: 'at all' };
  },
  'streams.v1.Streams/BidiThrows': async function* (items: Items) {
    yield* items;
    throw new Error('after all');
  },
  'streams.v1.Streams/BidiStatus': async function* (items: Items) {
    yield* items;
    notFound();
  },
  'streams.v1.Streams/BidiAfter': async function* (items: Items) {
    yield { text: await joined(items) };
    yield { text: 'after' };
  },
};
