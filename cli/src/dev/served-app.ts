/** The app that is served, one at a time: the next has its port and its log. */

import { RefusalError } from '@enclaim/runtime';
import type { BuiltApp } from './session.ts';

/** A runtime, as far as this needs it. */
interface Closable {
  close(): Promise<void>;
}

/** Serves one app after another, and the one before again if the runtime refuses the next. */
export class ServedApp<R extends Closable> {
  readonly #serve: (app: BuiltApp) => Promise<R>;
  #served: { readonly app: BuiltApp; readonly runtime: R } | undefined;

  constructor(serve: (app: BuiltApp) => Promise<R>) {
    this.#serve = serve;
  }

  /** Whether an app is served. */
  get isServing(): boolean {
    return this.#served !== undefined;
  }

  /**
   * Serves an app in place of the one before.
   *
   * @throws RefusalError of the runtime; then the app of before is served, if there was one
   */
  async replace(app: BuiltApp): Promise<R> {
    const before = this.#served?.app;
    await this.close();
    try {
      return await this.#begin(app);
    } catch (error) {
      if (error instanceof RefusalError && before !== undefined) await this.#begin(before);
      throw error;
    }
  }

  /** Serves nothing any more. */
  async close(): Promise<void> {
    const served = this.#served;
    this.#served = undefined;
    await served?.runtime.close();
  }

  async #begin(app: BuiltApp): Promise<R> {
    const runtime = await this.#serve(app);
    this.#served = { app, runtime };
    return runtime;
  }
}
