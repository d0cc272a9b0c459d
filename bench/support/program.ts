// Programs of benches that run in a process of their own: TypeScript in a checkout, JavaScript in the package.

import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** Runs the file `name` beside the module `beside`, and resolves with the one message that it sends. */
export function reportOf<T>(beside: string, name: string, programArguments: readonly string[] = []): Promise<T> {
  const ending = /\.[jt]s$/.exec(beside)?.[0] ?? '.js'
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL(`${name}${ending}`, beside)), programArguments)
    child.once('message', message => resolve(message as T))
    child.once('error', reject)
    child.once('exit', code => reject(new Error(`${name} ended with ${code} and no report`)))
  })
}
