/** Programs as single files: esbuild with everything fixed that could depend on folder, machine or user. */
import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import { type BuildFailure, type BuildOptions, build, type Plugin } from 'esbuild';
import type { Entry } from './entries.ts';
import { ImageError } from './errors.ts';

/** A bundled program of the image and the source files that went into it, by path below the project's root. */
export interface CompiledEntry {
  readonly entry: Entry;
  readonly code: Uint8Array;
  readonly sources: readonly string[];
}

/** No tsconfig.json, no NODE_PATH, no environment: only sources, and these options, decide the output. */
const FIXED = {
  tsconfigRaw: '{}',
  nodePaths: [],
  bundle: true,
  target: 'node26',
  charset: 'utf8',
  minifyWhitespace: true,
  legalComments: 'none',
  write: false,
  logLevel: 'silent',
} as const satisfies BuildOptions;

/** Packages in CommonJS form ask for `require`, which an ES module has to be given. */
const PRELUDE =
  "import{createRequire as $enclaimRequire}from'node:module';const require=$enclaimRequire(import.meta.url);";

/** Options of esbuild for the programs of the image; folder, entry point and first line come on top. */
export const ENTRY_OPTIONS: BuildOptions = {
  ...FIXED,
  platform: 'node',
  format: 'esm',
  // Only grpc-js's channelz asks for it, which is off; without it protobufjs, a code generator, stays out of the VM.
  external: ['@grpc/proto-loader'],
  banner: { js: PRELUDE },
};

/**
 * Bundles the programs of the image.
 * @param root - Folder that names inside the output are relative to, so that they are the same wherever it lies.
 * @throws ImageError `compile-failed` with the first messages of esbuild
 */
export async function compileEntries(root: string, entries: readonly Entry[]): Promise<CompiledEntry[]> {
  return Promise.all(
    entries.map(async (entry) => {
      const { code, sources } = await compile(entry.source, {
        ...ENTRY_OPTIONS,
        absWorkingDir: root,
        entryPoints: [join(root, entry.source)],
        banner: {
          js: `${entry.executable ? '#!/usr/bin/node --disable-warning=ExperimentalWarning\n' : ''}${PRELUDE}`,
        },
      });
      return { entry, code, sources };
    }),
  );
}

/**
 * Bundles an operator's handlers for a realm that has nothing: one script that assigns to `module.exports`.
 * @throws ImageError `compile-failed`; `import-forbidden` for an import of what only Node has
 */
export async function compileHandlers(app: string, source: string): Promise<Uint8Array> {
  const { code } = await compile(source, {
    absWorkingDir: app,
    entryPoints: [join(app, source)],
    platform: 'neutral',
    format: 'cjs',
    mainFields: ['module', 'main'],
    define: { 'process.env.NODE_ENV': '"production"' },
    plugins: [noBuiltins],
  });
  return code;
}

/** Said while bundling and not in production: a worker has neither files nor network, and no module loader. */
const noBuiltins: Plugin = {
  name: 'no-builtins',
  setup: ({ onResolve }) => {
    onResolve({ filter: /^/ }, ({ path }) =>
      isBuiltin(path) ? { errors: [{ text: `handlers cannot import ${path}: a worker does not have it` }] } : undefined,
    );
  },
};

async function compile(name: string, options: BuildOptions): Promise<{ code: Uint8Array; sources: string[] }> {
  // esbuild would run whatever program this names.
  if (process.env.ESBUILD_BINARY_PATH !== undefined)
    throw new ImageError('compile-failed', 'ESBUILD_BINARY_PATH is set: only the locked esbuild compiles an image');
  try {
    const { outputFiles, metafile } = await build({ ...FIXED, ...options, metafile: true, write: false });
    return { code: outputFiles[0]?.contents ?? new Uint8Array(), sources: Object.keys(metafile.inputs).sort() };
  } catch (cause) {
    const errors = (cause as Partial<BuildFailure>).errors ?? [];
    const messages = errors.slice(0, 5).map(({ location, text }) => `${location?.file}:${location?.line}: ${text}`);
    const forbidden = errors.some(({ pluginName }) => pluginName === noBuiltins.name);
    throw new ImageError(
      forbidden ? 'import-forbidden' : 'compile-failed',
      messages.length > 0 ? messages.join('; ') : `${name}: ${cause instanceof Error ? cause.message : cause}`,
      { cause },
    );
  }
}
