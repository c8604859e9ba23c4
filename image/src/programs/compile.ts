/**
 * Programs as single files: esbuild with everything fixed that could depend on folder, machine or
 * user.
 */
import { realpath } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { join, sep } from 'node:path';
import { type BuildFailure, type BuildOptions, build, type Plugin } from 'esbuild';
import { ImageError } from '../errors.ts';
import type { Entry } from './entries.ts';

/**
 * A bundled program of the image and the source files that went into it, by path below the
 * project's root.
 */
export interface CompiledEntry {
  readonly entry: Entry;
  readonly code: Uint8Array;
  readonly sources: readonly string[];
}

/**
 * Fixed options. Without tsconfig.json, NODE_PATH and environment, only sources and these options
 * decide the output.
 */
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

/**
 * Options of esbuild for the programs of the image. Folder, entry point and first line are added to
 * them.
 */
export const ENTRY_OPTIONS: BuildOptions = {
  ...FIXED,
  platform: 'node',
  format: 'esm',
  // Only grpc-js's channelz asks for it, and channelz is off. Without it protobufjs, a code
  // generator, stays out of the VM.
  external: ['@grpc/proto-loader'],
  banner: { js: PRELUDE },
};

/**
 * Bundles the programs of the image.
 * @param root - Folder that names inside the output are relative to. Thus they are the same
 *   wherever it lies.
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
 * Bundles an operator's handlers for a realm that has nothing: one script that assigns to
 * `module.exports`.
 * @throws ImageError `compile-failed`; `import-forbidden` for an import of a module that only Node
 *   has, or of a file outside of the app's folder, which an audit of the app does not find
 */
export async function compileHandlers(app: string, source: string): Promise<Uint8Array> {
  const { code } = await compile(source, await handlersOptions(app, source));
  return code;
}

/**
 * Maps each place of compiled handlers to its source: a source map (ECMA-426), as JSON, with
 * sources below the app's folder.
 * @throws ImageError as {@link compileHandlers}
 */
export async function mapHandlers(app: string, source: string): Promise<string> {
  const options = await handlersOptions(app, source);
  const map = {
    sourcemap: 'external',
    sourcesContent: false,
    outfile: join(`${options.absWorkingDir}`, 'map.js'),
  } as const;
  const { code } = await compile(source, { ...options, ...map }, '.map');
  return Buffer.from(code).toString('utf8');
}

async function handlersOptions(app: string, source: string): Promise<BuildOptions> {
  // esbuild names files by their real paths. Without this, an app reached by a link would have
  // other names in the output.
  const folder = await realpath(app).catch(() => app);
  return {
    absWorkingDir: folder,
    entryPoints: [join(folder, source)],
    platform: 'neutral',
    format: 'cjs',
    mainFields: ['module', 'main'],
    define: { 'process.env.NODE_ENV': '"production"' },
    plugins: [noBuiltins, nothingBeyond(folder)],
  };
}

/**
 * Refuses imports of Node's own modules while bundling and not in production: a worker has neither
 * files nor network, and no module loader.
 */
const noBuiltins: Plugin = {
  name: 'no-builtins',
  setup: ({ onResolve }) => {
    onResolve({ filter: /^/ }, ({ path }) =>
      isBuiltin(path) ? { errors: [{ text: `handlers cannot import ${path}: a worker does not have it` }] } : undefined,
    );
  },
};

/** Refuses files outside of the app's folder: each machine has something else there. */
function nothingBeyond(folder: string): Plugin {
  return {
    name: 'nothing-beyond',
    setup: ({ onLoad }) => {
      onLoad({ filter: /^/ }, async ({ path }) => {
        if ((await realpath(path).catch(() => path)).startsWith(folder + sep)) return undefined;
        return { errors: [{ text: `handlers import ${path}, which lies outside of the app's folder` }] };
      });
    },
  };
}

const FORBIDDING: ReadonlySet<string> = new Set(['no-builtins', 'nothing-beyond']);

/** @param wanted end of the name of the output to return, if there are two outputs */
async function compile(
  name: string,
  options: BuildOptions,
  wanted = '',
): Promise<{ code: Uint8Array; sources: string[] }> {
  // esbuild would run whatever program this names.
  if (process.env.ESBUILD_BINARY_PATH !== undefined)
    throw new ImageError('compile-failed', 'ESBUILD_BINARY_PATH is set: only the locked esbuild compiles an image');
  try {
    const { outputFiles, metafile } = await build({ ...FIXED, ...options, metafile: true, write: false });
    const output = outputFiles.find(({ path }) => path.endsWith(wanted));
    return { code: output?.contents ?? new Uint8Array(), sources: Object.keys(metafile.inputs).sort() };
  } catch (cause) {
    const errors = (cause as Partial<BuildFailure>).errors ?? [];
    const messages = errors.slice(0, 5).map(({ location, text }) => `${location?.file}:${location?.line}: ${text}`);
    const forbidden = errors.some(({ pluginName }) => FORBIDDING.has(pluginName));
    throw new ImageError(
      forbidden ? 'import-forbidden' : 'compile-failed',
      messages.length > 0 ? messages.join('; ') : `${name}: ${cause instanceof Error ? cause.message : cause}`,
      { cause },
    );
  }
}
