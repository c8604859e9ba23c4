/** Debian's Chromium, headless, driven over the DevTools protocol: one page at a time, nothing but what a test asks for. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.ts';
import { CHROMIUM } from './machine-needs.ts';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--remote-debugging-port=0',
];

/** An open page. */
export class Page {
  readonly #child: ChildProcess;
  readonly #profile: string;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #sent = 0;

  private constructor(child: ChildProcess, profile: string, socket: WebSocket) {
    this.#child = child;
    this.#profile = profile;
    this.#socket = socket;
    socket.addEventListener('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the browser has ended'));
    });
    socket.addEventListener('message', ({ data }) => {
      const { id, result, error } = JSON.parse(String(data)) as { id?: number; result?: unknown; error?: object };
      const waiting = id === undefined ? undefined : this.#waiting.get(id);
      if (error === undefined) waiting?.resolve(result);
      else waiting?.reject(new Error(JSON.stringify(error)));
    });
  }

  /** Starts the browser with this address. */
  static async open(url: string): Promise<Page> {
    const profile = await mkdtemp(join(tmpdir(), 'enclaim-chromium-'));
    const child = spawn(CHROMIUM, [...FLAGS, `--user-data-dir=${profile}`, url], { stdio: 'ignore' });
    try {
      const port = await eventually('the browser', async () => {
        if (child.exitCode !== null || child.signalCode !== null) throw new Error('the browser has ended');
        return wholePort(await readFile(join(profile, 'DevToolsActivePort'), 'utf8'));
      });
      const address = await eventually('its page', async () => {
        const list = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as {
          url: string;
          webSocketDebuggerUrl: string;
        }[];
        return list.find((target) => target.url === url)?.webSocketDebuggerUrl;
      });
      const socket = new WebSocket(address);
      await once(socket, 'open');
      const page = new Page(child, profile, socket);
      await page.until(`location.href === ${JSON.stringify(url)} && document.readyState === 'complete'`);
      return page;
    } catch (error) {
      // Without this, a browser that no test holds would keep the test's process alive.
      child.kill('SIGKILL');
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'exit');
    if (this.#socket.readyState === WebSocket.OPEN)
      this.#socket.send(JSON.stringify({ id: ++this.#sent, method: 'Browser.close' }));
    else this.#child.kill('SIGKILL');
    await ended;
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  /** The value of an expression, a promise's once it is there. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.#send<{ result: { value: T }; exceptionDetails?: object }>(
      'Runtime.evaluate',
      { expression, awaitPromise: true, returnByValue: true },
    );
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return result.value;
  }

  /** Puts a file into a file input. */
  async choose(selector: string, ...files: string[]): Promise<void> {
    const { root } = await this.#send<{ root: { nodeId: number } }>('DOM.getDocument', {});
    const { nodeId } = await this.#send<{ nodeId: number }>('DOM.querySelector', { nodeId: root.nodeId, selector });
    await this.#send('DOM.setFileInputFiles', { nodeId, files });
  }

  /** Waits until an expression is something other than null, false or undefined. */
  until<T>(expression: string): Promise<NonNullable<T>> {
    return eventually(expression, () => this.evaluate<T | undefined>(expression)) as Promise<NonNullable<T>>;
  }

  #send<T>(method: string, params: object): Promise<T> {
    const id = ++this.#sent;
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(id, waiting);
    this.#socket.send(JSON.stringify({ id, method, params }));
    return waiting.promise as Promise<T>;
  }
}

/**
 * The port of a file that the browser has written to its end: the port, a line break and a path.
 * A file that is there may still be empty.
 */
function wholePort(file: string): string | undefined {
  return /^(\d+)\n\/./.exec(file)?.[1];
}
