// What a command is: its options, its help, and how arguments become values. Parsing is Node's own `parseArgs`.

import { type ParseArgsConfig, parseArgs } from 'node:util'
import { expectOptions } from '../util/errors.js'

type Kind = 'text' | 'texts' | 'words' | 'list' | 'number' | 'numbers' | 'flag'

type Interval = `${'[' | '('}${number}, ${number | '∞'}${']' | ')'}`
/** Numbers of an interval, or whole ones alone. */
export type Range = Interval | `whole ${Interval}`

export interface OptionSpec {
  /**
   * `texts` takes several words after the option, `list` and `numbers` one word with commas. `words` are what stands
   * without an option; a command has at most one of these.
   */
  readonly kind: Kind
  readonly about: string
  /** What the help shows for the value: FILE, N, COL … */
  readonly value?: string
  readonly required?: boolean
  readonly oneOf?: readonly string[]
  readonly fallback?: string | number
  /** Of numbers; another one is wrong usage. */
  readonly range?: Range
  /** That it names what is written: a folder, any file, or a file with one of these endings. */
  readonly writes?: 'folder' | 'file' | readonly string[]
}

type ValueOf<K extends Kind> = K extends 'text'
  ? string
  : K extends 'texts' | 'words' | 'list'
    ? string[]
    : K extends 'number'
      ? number
      : K extends 'numbers'
        ? number[]
        : boolean

type Values<O extends Record<string, OptionSpec>> = {
  readonly [N in keyof O]: O[N] extends { required: true } | { fallback: string | number } | { kind: 'flag' | 'words' }
    ? ValueOf<O[N]['kind']>
    : ValueOf<O[N]['kind']> | undefined
}

/** What every command gets besides its own options. */
export interface Context {
  readonly signal: AbortSignal
  readonly seed: number | undefined
  readonly threads: number | undefined
  readonly device: 'auto' | 'cpu' | 'cuda'
  /** Print one JSON object on stdout, and nothing else there. */
  readonly json: boolean
}

export interface Command {
  readonly name: string
  readonly about: string
  readonly options: Readonly<Record<string, OptionSpec>>
  /** Returns what `--json` prints; without `--json` the command prints for people through `say`. */
  run(values: Readonly<Record<string, unknown>>, context: Context): Promise<object>
  /** For people: the result as text. */
  show(result: object): string
}

/** Wrong usage: exit code 2. */
export class UsageError extends Error {}

/** Gives `run` and `show` their types. */
export function defineCommand<const O extends Record<string, OptionSpec>, R extends object>(command: {
  name: string
  about: string
  options: O
  run(values: Values<O>, context: Context): Promise<R>
  show(result: R): string
}): Command {
  return command as unknown as Command
}

const COMMON: Readonly<Record<string, OptionSpec>> = {
  seed: { kind: 'number', value: 'N', about: 'seed of everything random', range: 'whole [0, 9007199254740991]' },
  threads: { kind: 'number', value: 'N', about: 'threads (default: all cores)', range: 'whole [1, 1024]' },
  device: { kind: 'text', about: 'where to compute', oneOf: ['auto', 'cpu', 'cuda'], fallback: 'auto' },
  json: { kind: 'flag', about: 'print one JSON object on stdout' },
  help: { kind: 'flag', about: 'show this help, as -h does' },
}

/** @throws {UsageError} for arguments that the command does not take */
export function parseCommand(
  command: Command,
  args: readonly string[],
): { values: Record<string, unknown> } & Omit<Context, 'signal'> & { help: boolean } {
  const all: [string, OptionSpec][] = Object.entries({ ...command.options, ...COMMON })
  const specs = Object.fromEntries(all.filter(([, { kind }]) => kind !== 'words'))
  const words = all.find(([, { kind }]) => kind === 'words')?.[0]
  const options: ParseArgsConfig['options'] = Object.fromEntries(
    Object.entries(specs).map(([name, { kind }]) => [name, { type: kind === 'flag' ? 'boolean' : 'string' }]),
  )
  options.help = { type: 'boolean', short: 'h' }
  const { tokens } = parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true })
  const values: Record<string, unknown> = words === undefined ? {} : { [words]: [] }
  let open: string | null = null
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    if (token.kind === 'positional') {
      const list = open ?? words
      if (list === undefined) throw new UsageError(`expected options but received '${token.value}'; see --help`)
      ;(values[list] as string[]).push(token.value)
      continue
    }
    const { name, value } = token
    const spec = Object.hasOwn(specs, name) ? specs[name] : undefined
    if (!spec) throw new UsageError(unknownOption(command.name, name, Object.keys(specs)))
    open = null
    if (spec.kind === 'flag') {
      if (value !== undefined) throw new UsageError(`expected --${name} without a value but received '${value}'`)
      values[name] = true
      continue
    }
    if (value === undefined || (value.startsWith('--') && !token.inlineValue)) {
      throw new UsageError(`expected --${name} ${spec.value ?? 'VALUE'} but received no value`)
    }
    if (spec.kind === 'texts') {
      values[name] = [...((values[name] as string[]) ?? []), value]
      open = name
    } else {
      if (values[name] !== undefined) throw new UsageError(`expected --${name} once but received it twice`)
      values[name] = convert(name, spec, value)
    }
  }
  const help = values.help === true
  for (const [name, { required, fallback, kind }] of Object.entries(specs)) {
    if (values[name] === undefined && fallback !== undefined) values[name] = fallback
    if (values[name] === undefined && kind === 'flag') values[name] = false
    if (values[name] === undefined && required && !help) throw new UsageError(`expected --${name}; see --help`)
  }
  return {
    values,
    help,
    json: values.json as boolean,
    seed: values.seed as number | undefined,
    threads: values.threads as number | undefined,
    device: values.device as Context['device'],
  }
}

function convert(name: string, { kind, oneOf, range }: OptionSpec, text: string): unknown {
  const one = (word: string) => {
    if (oneOf && !oneOf.includes(word)) {
      throw new UsageError(`expected --${name} to be one of ${oneOf.join(', ')} but received '${word}'`)
    }
    return word
  }
  const number = (word: string) => {
    const value = Number(word)
    if (word.trim() === '' || !Number.isFinite(value)) {
      throw new UsageError(`expected --${name} to be a number but received '${word}'`)
    }
    if (range && !liesIn(value, range)) {
      const wanted = range.startsWith('whole ') ? range.replace(' ', ' number in ') : `number in ${range}`
      throw new UsageError(`expected --${name} to be a ${wanted} but received '${word}'`)
    }
    return value
  }
  if (kind === 'number') return number(text)
  if (kind === 'numbers') return text.split(',').map(number)
  if (kind === 'list') return text.split(',').map(one)
  return one(text)
}

function liesIn(value: number, range: Range): boolean {
  const [, whole, open, low, high, close] = /^(whole )?([[(])(.+), (.+)([\])])$/.exec(range)!
  const most = high === '∞' ? Number.POSITIVE_INFINITY : Number(high)
  const isAbove = open === '[' ? value >= Number(low) : value > Number(low)
  const isBelow = close === ']' ? value <= most : value < most
  return isAbove && isBelow && (!whole || Number.isInteger(value))
}

/** Calls what looks at options alone: what it refuses is wrong usage. */
export function asUsage<T>(check: () => T): T {
  try {
    return check()
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) throw new UsageError(error.message)
    throw error
  }
}

function unknownOption(command: string, name: string, known: readonly string[]): string {
  try {
    expectOptions(command, { [name]: true }, known)
    return name
  } catch (error) {
    return (error as Error).message.replace(`'${name}'`, `--${name}`).replace(/'([^']*)'\?$/, "'--$1'?")
  }
}

/** The help of one command. */
export function helpOf({ name, about, options }: Command): string {
  const line = ([option, spec]: [string, OptionSpec]) => {
    const value = spec.kind === 'flag' ? '' : ` ${spec.oneOf ? spec.oneOf.join('|') : (spec.value ?? 'VALUE')}`
    const many = spec.kind === 'texts' || spec.kind === 'words' ? '…' : ''
    const notes = [spec.required && 'required', spec.fallback !== undefined && `default ${spec.fallback}`].filter(
      Boolean,
    )
    const left = spec.kind === 'words' ? ` ${value}${many}` : `  --${option}${value}${many}`
    return `${left.padEnd(34)}${left.length >= 34 ? `\n${' '.repeat(34)}` : ''}${spec.about}${notes.length ? ` (${notes.join(', ')})` : ''}`
  }
  const own = Object.entries(options).map(line)
  const common = Object.entries(COMMON).map(line)
  return [`seqrisk ${name}: ${about}`, '', ...own, '', 'Everywhere:', ...common, ''].join('\n')
}
