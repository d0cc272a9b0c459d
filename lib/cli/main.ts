#!/usr/bin/env node
// The `seqrisk` command: exit 0 on success, 1 on a failure with one clear line on stderr, 2 on wrong usage.

import { readFileSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { packageRoot } from '../util/package_root.js'
import { type Command, helpOf, parseCommand, UsageError } from './command.js'
import { checkOutputs, outputsOf } from './outputs.js'

/** Loaded by `main`: where the binary is missing, that too ends in one clear line. */
let commands: readonly Command[] = []

const isHelp = (word: string | undefined) => word === '--help' || word === '-h'

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args[0] === 'help' ? [...args.slice(1), '--help'] : args
  if (name === '--version') {
    process.stdout.write(`${version()}\n`)
    return 0
  }
  ;({ commands } = await import('./commands/index.js'))
  if (name === undefined || isHelp(name)) {
    process.stdout.write(overview())
    return name === undefined ? 2 : 0
  }
  const group = commands.filter(command => command.name.startsWith(`${name} `))
  if (group.length > 0 && (rest[0] === undefined || isHelp(rest[0]))) {
    process.stdout.write(overview(group, ` ${name}`))
    return rest[0] === undefined ? 2 : 0
  }
  const wanted = group.length > 0 ? `${name} ${rest.shift()}` : name
  const command = commands.find(command => command.name === wanted)
  if (!command) throw new UsageError(`expected a command but received '${wanted}'; see seqrisk --help`)
  const { values, help, ...context } = parseCommand(command, rest)
  if (help) {
    process.stdout.write(helpOf(command))
    return 0
  }
  await checkOutputs(command, values)
  // What is written to standard output has it for itself.
  const taken = await Promise.all(outputsOf(command, values).map(({ path }) => isStandardOutput(path)))
  const report = taken.includes(true) ? process.stderr : process.stdout
  let result: object
  try {
    result = await command.run(values, { ...context, signal: interruptSignal(command) })
  } catch (error) {
    if (taken.includes(true) && isBrokenPipe(error)) return 0
    throw error
  }
  report.write(context.json ? `${JSON.stringify(result)}\n` : command.show(result))
  return 0
}

function overview(shown = commands, prefix = ''): string {
  const lines = shown.map(({ name, about }: Command) => `  ${name.padEnd(17)}${about}`)
  return [
    `seqrisk ${version()}: event histories to vectors and risk scores`,
    '',
    ...lines,
    '',
    `seqrisk${prefix} COMMAND --help shows its options.`,
    '',
  ].join('\n')
}

function version(): string {
  return (JSON.parse(readFileSync(`${packageRoot}package.json`, 'utf8')) as { version: string }).version
}

/**
 * Whether a path leads to what standard output goes to. Pipes have no path but those of the system. Not by fstat of descriptor 1:
 * Node 20 keeps the answer where its module loader looks for links next, and then loads a linked package by the link's path, where
 * its dependencies are not found.
 */
async function isStandardOutput(path: string): Promise<boolean> {
  if (/^(\/dev\/stdout|\/dev\/fd\/1|\/proc\/self\/fd\/1)$/.test(path)) return true
  const [own, other] = await Promise.all(['/proc/self/fd/1', path].map(one => realpath(one).catch(() => null)))
  return own !== null && own === other
}

/** That whoever read what is written has gone. */
function isBrokenPipe(error: unknown): boolean {
  return ((error as Error | null)?.cause as NodeJS.ErrnoException | undefined)?.code === 'EPIPE'
}

/** Ctrl-C stops at the next step, with everything written that is whole; a second one ends the process. */
function interruptSignal({ options }: Command): AbortSignal {
  const controller = new AbortController()
  const advice = options.resume ? 'go on with --resume' : 'run it again'
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => controller.abort(new Error(`expected to finish but received ${name}; ${advice}`)))
  }
  return controller.signal
}

/** A reader that has gone (`| head`) wants no more, and that is no failure; a full disk is one. */
function watchOutput(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit()
    process.stderr.write(`seqrisk: expected to write to stdout but received ${error.message}\n`)
    process.exit(1)
  })
  // Progress that nobody reads is no reason to stop.
  process.stderr.on('error', () => {})
}

watchOutput()
main(process.argv.slice(2)).then(
  code => {
    process.exitCode = code
  },
  (error: unknown) => {
    const isUsage = error instanceof UsageError
    const message = error instanceof Error ? error.message : String(error)
    process.stderr.write(`seqrisk: ${message.split('\n')[0]}\n`)
    process.exitCode = isUsage ? 2 : 1
  },
)
