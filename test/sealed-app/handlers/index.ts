/** Handlers of an app that keeps notes: each in both collections. */

interface Notes {
  get(key: string): Promise<{ readonly text: string } | null>;
  put(key: string, value: { readonly text: string }): Promise<null>;
}

interface Context {
  readonly store: { readonly long: Notes; readonly short: Notes };
}

interface Request {
  readonly key?: string;
  readonly text?: string;
}

export const handlers: Readonly<Record<string, (request: Request, ctx: Context) => Promise<unknown>>> = {
  'kept.v1.Notes/Put': async ({ key = '', text = '' }, { store }) => {
    await store.long.put(key, { text });
    await store.short.put(key, { text });
    return { key };
  },

  'kept.v1.Notes/Get': async ({ key = '' }, { store }) => {
    const [long, short] = [await store.long.get(key), await store.short.get(key)];
    return { long: long?.text ?? '', short: short?.text ?? '' };
  },
};
