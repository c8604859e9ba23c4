/** Handlers of an app that stores each text in four collections, in one transaction. */

interface Texts {
  get(key: string): Promise<{ readonly text: string } | null>;
  list(): Promise<readonly string[]>;
  put(key: string, value: { readonly text: string }): Promise<null>;
  delete(key: string): Promise<null>;
}

type Name = 'left' | 'right' | 'brief' | 'lasting';

interface Context {
  readonly store: Readonly<Record<Name, Texts>>;
}

interface Request {
  readonly key?: string;
  readonly text?: string;
}

const NAMES: readonly Name[] = ['left', 'right', 'brief', 'lasting'];

async function keptUnder(key: string, { store }: Context): Promise<Readonly<Record<string, string>>> {
  const kept: Record<string, string> = { key };
  for (const name of NAMES) kept[name] = (await store[name].get(key))?.text ?? '';
  return kept;
}

export const handlers: Readonly<Record<string, (request: Request, ctx: Context) => Promise<unknown>>> = {
  'kept.v1.Pairs/Put': async ({ key = '', text = '' }, { store }) => {
    for (const name of NAMES) await store[name].put(key, { text });
    return { key };
  },

  'kept.v1.Pairs/Drop': async ({ key = '' }, { store }) => {
    for (const name of NAMES) await store[name].delete(key);
    return { key };
  },

  'kept.v1.Pairs/Get': ({ key = '' }, ctx) => keptUnder(key, ctx),

  'kept.v1.Pairs/All': async (_, ctx) => {
    const keys = new Set<string>();
    for (const name of NAMES) for (const key of await ctx.store[name].list()) keys.add(key);
    const kept: unknown[] = [];
    for (const key of keys) kept.push(await keptUnder(key, ctx));
    return { kept };
  },
};
