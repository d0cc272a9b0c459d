// Programs of their own, for what would take the test down with it: crashes, exits, teardown.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface ChildResult {
  /** Exit code; null when a signal ended it. */
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface ChildOptions {
  readonly nodeArguments?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  /** After it the child is killed, so that a hang fails the test with its output. */
  readonly timeoutMs?: number
}

/** Runs a TypeScript file (path from the repository's root) in a Node of its own, until it ends. */
export function runChild(
  file: string,
  programArguments: readonly string[] = [],
  { nodeArguments = [], environment = {}, timeoutMs = 30_000 }: ChildOptions = {},
): Promise<ChildResult> {
  const child = spawn(process.execPath, [...nodeArguments, '--import', 'tsx', file, ...programArguments], {
    cwd: root,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', chunk => {
    stdout += chunk
  })
  child.stderr.setEncoding('utf8').on('data', chunk => {
    stderr += chunk
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}

/** Runs the command `seqrisk` with these arguments. */
export function seqrisk(...commandArguments: string[]): Promise<ChildResult> {
  return runChild('lib/cli/main.ts', commandArguments, { timeoutMs: 60_000 })
}
