/** Our own programs as single files: esbuild with everything fixed that could depend on folder, machine or user. */
import { join } from 'node:path';
import { type BuildFailure, build } from 'esbuild';
import type { Entry } from './entries.ts';
import { ImageError } from './errors.ts';

/** A bundled program and the source files that went into it, by path below the project's root. */
export interface CompiledEntry {
  readonly entry: Entry;
  readonly code: Uint8Array;
  readonly sources: readonly string[];
}

/** Packages in CommonJS form ask for `require`, which an ES module has to be given. */
const PRELUDE =
  "import{createRequire as $enclaimRequire}from'node:module';const require=$enclaimRequire(import.meta.url);";

/**
 * Bundles the programs of the image.
 * @throws ImageError `compile-failed` with the first messages of esbuild
 */
export async function compileEntries(root: string, entries: readonly Entry[]): Promise<CompiledEntry[]> {
  return Promise.all(
    entries.map(async (entry) => {
      const banner = `${entry.executable ? '#!/usr/bin/node\n' : ''}${PRELUDE}`;
      const result = await build({
        absWorkingDir: root, // names inside the output are relative to it, hence the same in every folder
        entryPoints: [join(root, entry.source)],
        tsconfigRaw: '{}',
        nodePaths: [],
        bundle: true,
        platform: 'node',
        format: 'esm',
        target: 'node26',
        charset: 'utf8',
        banner: { js: banner },
        minifyWhitespace: true,
        legalComments: 'none',
        metafile: true,
        write: false,
        logLevel: 'silent',
      }).catch((cause: BuildFailure) => {
        const messages = cause.errors?.slice(0, 5).map((m) => `${m.location?.file}:${m.location?.line}: ${m.text}`);
        throw new ImageError('compile-failed', `${entry.source}: ${messages?.join('; ') ?? cause.message}`, { cause });
      });
      const [output] = result.outputFiles;
      if (output === undefined) throw new ImageError('compile-failed', `${entry.source}: no output`);
      return { entry, code: output.contents, sources: Object.keys(result.metafile.inputs).sort() };
    }),
  );
}
