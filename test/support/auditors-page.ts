/** The auditor's page, built and opened from disk. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { buildPage } from '../../scripts/page.ts';
import { Page } from './chromium.ts';

/** What the page shows. */
export interface Shown {
  readonly head: string;
  /** The checks: outcome, id, detail. */
  readonly rows: string[][];
  readonly text: string;
}

/** The page in a browser of its own, and a folder for the files that it is given. */
export class AuditorsPage {
  readonly page: Page;
  readonly #folder: string;

  private constructor(page: Page, folder: string) {
    this.page = page;
    this.#folder = folder;
  }

  static async open(): Promise<AuditorsPage> {
    const folder = await mkdtemp(join(tmpdir(), 'enclaim-page-'));
    const html = await buildPage();
    const file = join(folder, 'page.html');
    await writeFile(file, html);
    console.log(`auditor's page: ${html.length} bytes, ${gzipSync(html).length} gzipped`);
    return new AuditorsPage(await Page.open(pathToFileURL(file).href), folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.page[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Fills in a field. */
  async fill(id: string, text: string): Promise<void> {
    await this.page.evaluate(`document.getElementById(${JSON.stringify(id)}).value = ${JSON.stringify(text)}; true`);
  }

  /** Chooses deployments of these contents in place of those before. */
  async deploy(...contents: (Uint8Array | string)[]): Promise<void> {
    const files = contents.map((_, index) => join(this.#folder, `deployment-${index}`));
    for (const [index, file] of files.entries()) await writeFile(file, contents[index] ?? '');
    await this.page.choose('#deployments', ...files);
  }

  /** Chooses files of these contents, and returns what comes of it. */
  async show(subject: Uint8Array | string, references: Uint8Array | string): Promise<Shown> {
    await this.page.evaluate("document.getElementById('result').hidden = true; true");
    for (const [id, content] of Object.entries({ references, subject })) {
      const file = join(this.#folder, id);
      await writeFile(file, content);
      await this.page.choose(`#${id}`, file);
    }
    // Chromium says nothing of a file that was chosen before.
    await this.page.evaluate("document.getElementById('subject').dispatchEvent(new Event('change')); true");
    await this.page.until("!document.getElementById('result').hidden");
    return this.page.evaluate(`({
      head: document.querySelector('#result h2').textContent,
      rows: [...document.querySelectorAll('#result table:nth-of-type(2) tr')].map((row) =>
        [...row.cells].map((cell) => cell.textContent)),
      text: document.getElementById('result').textContent,
    })`);
  }
}
