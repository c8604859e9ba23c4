/** `enclaim completion SHELL`: words that a shell completes, made from the tree of commands. */

import { Argument, type Command, type Option } from 'commander';

/** Words that can be typed after those of a command. */
interface Place {
  /** Words that lead to the command, with a space between: `enclaim policy explain`. */
  readonly at: string;
  readonly commands: readonly Word[];
  readonly options: readonly (Word & {
    /** Null if no value follows, else the values that are accepted; none for any. */
    readonly values: readonly string[] | null;
  })[];
  /** Values of its arguments, where those are a closed set. */
  readonly values: readonly string[];
}

interface Word {
  readonly names: readonly string[];
  readonly about: string;
}

type Shell = 'bash' | 'zsh' | 'fish';
const SHELLS: Readonly<Record<Shell, (places: readonly Place[]) => string>> = { bash, zsh, fish };

export function register(program: Command): void {
  program
    .command('completion')
    .description('write a script by which a shell completes commands and options: source <(enclaim completion bash)')
    .addArgument(new Argument('<shell>', 'the shell').choices(Object.keys(SHELLS)))
    .action((shell: Shell) => console.log(completionOf(program, shell)));
}

/** The script for a shell. Everything that help shows is in it, and nothing else. */
export function completionOf(program: Command, shell: Shell): string {
  return SHELLS[shell](placesOf(program, program.name()));
}

function placesOf(command: Command, at: string): Place[] {
  const help = command.createHelp();
  const commands = help.visibleCommands(command);
  const place: Place = {
    at: plain(at, /^[a-z -]+$/),
    commands: commands.map((each) => wordOf([each.name(), ...each.aliases()], help.subcommandDescription(each))),
    options: help.visibleOptions(command).map((option) => ({
      ...wordOf([option.long, option.short], option.description),
      values: valuesOf(option),
    })),
    values: command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []).map((value) => plain(value)),
  };
  return [place, ...commands.flatMap((each) => placesOf(each, `${at} ${each.name()}`))];
}

function wordOf(names: readonly (string | undefined)[], about: string): Word {
  return { names: names.filter((name) => name !== undefined).map((name) => plain(name)), about };
}

function valuesOf({ required, optional, argChoices }: Option): readonly string[] | null {
  return required || optional ? (argChoices ?? []).map((value) => plain(value)) : null;
}

/** Refuses a word that a shell would read as more than a word. */
function plain(word: string, form = /^[A-Za-z0-9_.-]+$/): string {
  if (!form.test(word)) throw new Error(`${JSON.stringify(word)} cannot be completed: it is no plain word`);
  return word;
}

/** Text in single quotes, in which POSIX shells and zsh read nothing but the quote. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** In fish a backslash, too, has a meaning within single quotes. */
function fishQuoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

/** Every command with the words that lead to it, as patterns of `case`. */
function deeper(places: readonly Place[], quote: (text: string) => string, between: string): string {
  return places
    .slice(1)
    .map(({ at }) => quote(at))
    .join(between);
}

/** Options of a place that a value follows, grouped by the values that they take. */
function* withValues({ at, options }: Place): Generator<readonly [before: string[], values: readonly string[]]> {
  for (const { names, values } of options) if (values !== null) yield [names.map((name) => `${at} ${name}`), values];
}

/** Without `-o default` bash would complete no file names where nothing of ours fits. */
function bash(places: readonly Place[]): string {
  const valued = places.flatMap((place) =>
    [...withValues(place)].map(
      ([before, values]) => `    ${before.map(quoted).join('|')}) words=${quoted(values.join(' '))} ;;`,
    ),
  );
  const words = places.map(({ at, commands, options, values }) => {
    const all = [...commands, ...options].flatMap(({ names }) => names);
    return `      ${quoted(at)}) words=${quoted([...values, ...all].join(' '))} ;;`;
  });
  return `# bash completion of enclaim: source <(enclaim completion bash)
_enclaim() {
  local at=enclaim words i cur=\${COMP_WORDS[COMP_CWORD]}
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at \${COMP_WORDS[i]}" in
    ${deeper(places, quoted, '|')}) at="$at \${COMP_WORDS[i]}" ;;
    esac
  done
  case "$at \${COMP_WORDS[COMP_CWORD - 1]}" in
${valued.join('\n')}
    *) case "$at" in
${words.join('\n')}
    esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _enclaim enclaim`;
}

function zsh(places: readonly Place[]): string {
  // The text before the first colon is the word, what follows describes it.
  const described = (list: readonly Word[]): string =>
    list.flatMap(({ names, about }) => names.map((name) => quoted(`${name}:${about}`))).join(' ');
  const valued = places.flatMap((place) =>
    [...withValues(place)].map(([before, values]) => {
      const complete = values.length > 0 ? `compadd -- ${values.join(' ')}` : '_files';
      return `    (${before.map(quoted).join('|')}) ${complete}; return ;;`;
    }),
  );
  const words = places.map(({ at, commands, options, values }) => {
    return `    (${quoted(at)}) commands=(${described(commands)}) options=(${described(options)}) values=(${values.join(' ')}) ;;`;
  });
  return `#compdef enclaim
# zsh completion of enclaim: source <(enclaim completion zsh), or as _enclaim in a folder of fpath
_enclaim() {
  local at=enclaim word
  local -a commands options values
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$at $word" in
    (${deeper(places, quoted, '|')}) at="$at $word" ;;
    esac
  done
  case "$at \${words[CURRENT-1]}" in
${valued.join('\n')}
  esac
  case "$at" in
${words.join('\n')}
  esac
  if [[ \${words[CURRENT]} == -* ]]; then
    _describe -o option options
  elif (( \${#commands} )); then
    _describe command commands
  elif (( \${#values} )); then
    compadd -- "\${values[@]}"
  else
    _files
  fi
}
if [[ \${funcstack[1]} == _enclaim ]]; then _enclaim "$@"; else compdef _enclaim enclaim; fi`;
}

function fish(places: readonly Place[]): string {
  const lines = places.flatMap(({ at, commands, options, values }) => {
    const here = `complete -c enclaim -n ${fishQuoted(`__enclaim_at ${at}`)}`;
    return [
      ...commands.flatMap(({ names, about }) =>
        names.map((name) => `${here} -f -a ${fishQuoted(name)} -d ${fishQuoted(about)}`),
      ),
      ...(values.length > 0 ? [`${here} -f -a ${fishQuoted(values.join(' '))}`] : []),
      ...options.map(({ names, about, values: accepted }) => {
        const words = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`));
        const value = accepted === null ? '' : accepted.length > 0 ? ` -x -a ${fishQuoted(accepted.join(' '))}` : ' -r';
        return `${here} ${words.join(' ')}${value} -d ${fishQuoted(about)}`;
      }),
    ];
  });
  return `# fish completion of enclaim: enclaim completion fish | source
function __enclaim_at
  set -l at enclaim
  for word in (commandline -opc)[2..-1]
    switch "$at $word"
      case ${deeper(places, fishQuoted, ' ')}
        set at "$at $word"
    end
  end
  test "$at" = "$argv"
end
${lines.join('\n')}`;
}
