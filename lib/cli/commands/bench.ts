import type { BenchLine, BenchOptions } from '../../../bench/run.js'
import { defineCommand, UsageError } from '../command.js'
import { PRECISION, precisionOf } from '../precision.js'

/** What is used of the benches: nothing else in the package needs them, so that they are loaded when asked for. */
interface Benches {
  benchNames(): string[]
  runBenches(options: BenchOptions): AsyncIterable<BenchLine>
}

export const benchCommand = defineCommand({
  name: 'bench',
  about: 'kernels and encoder against the limits of this machine, and against peers where installed',
  options: {
    names: { kind: 'words', value: 'NAME', about: 'parts of the names of benches (default: all)' },
    precision: PRECISION,
    'install-peers': { kind: 'flag', about: 'fetch onnxruntime-node (290 MB) beside the benches, if it is not there' },
    list: { kind: 'flag', about: 'show the names alone' },
  },
  async run({ names, precision, list, 'install-peers': installPeers }, { device, threads, signal, json }) {
    const benches = (await import(new URL('../../../bench/run.js', import.meta.url).href)) as Benches
    if (list) return { names: benches.benchNames(), lines: [] as BenchLine[] }
    const lines: BenchLine[] = []
    try {
      for await (const one of benches.runBenches({
        names,
        device,
        threads,
        signal,
        precision: precisionOf(precision),
        installPeers,
      })) {
        lines.push(one)
        const out = json ? process.stderr : process.stdout
        out.write(`${one.line}\n`)
      }
    } catch (error) {
      if (error instanceof RangeError && error.message.startsWith('[bench]')) throw new UsageError(error.message)
      throw error
    }
    return { names: [...new Set(lines.slice(1).map(({ bench }) => bench))], lines }
  },
  // The lines of a report are shown as they come.
  show({ names, lines }) {
    return lines.length > 0 ? '' : names.map(name => `${name}\n`).join('')
  },
})
