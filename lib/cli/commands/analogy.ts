import { readVectorBlocks, readVectors } from '../../events/vectors.js'
import { progressLine } from '../../report/progress.js'
import { markdownTable } from '../../report/table.js'
import { Device } from '../../runtime/device.js'
import { analogyVectors, rowsOf } from '../../transfer/analogy.js'
import type { Metric } from '../../transfer/neighbours.js'
import { defineCommand, UsageError } from '../command.js'

export const analogyCommand = defineCommand({
  name: 'analogy',
  about: 'nearest to a − b + c: what is to c as a is to b',
  options: {
    vectors: { kind: 'text', value: 'FILE', required: true, about: 'vectors that encode wrote' },
    a: { kind: 'text', value: 'ID', required: true, about: 'entity to start from' },
    b: { kind: 'text', value: 'ID', required: true, about: 'entity to take away' },
    c: { kind: 'text', value: 'ID', required: true, about: 'entity to add' },
    top: { kind: 'number', value: 'N', about: 'how many to list', fallback: 10 },
    id: { kind: 'text', value: 'COL', about: 'column of the entity (default: the one beside the vectors)' },
    metric: { kind: 'text', oneOf: ['cosine', 'euclidean'], about: 'what is near', fallback: 'cosine' },
  },
  async run(values, { signal, threads, device: kind, json }) {
    const { a, b, c, top, id } = values
    if (!(Number.isInteger(top) && top >= 1 && top <= 10_000)) {
      throw new UsageError(`expected --top N, a whole number from 1 to 10000, but received '${top}'`)
    }
    const metric = values.metric as Metric
    const exclude = [...new Set([a, b, c])]
    // The file is read twice, so that it need not fit in memory.
    const named = await readVectors(values.vectors, { id, only: exclude, threads, signal })
    const rows = await rowsOf(named, new Set(exclude), signal)
    const [from, less, more] = [a, b, c].map(one => {
      const row = rows.get(one)!
      return named.vectors.subarray(row * named.width, (row + 1) * named.width)
    })
    const line = progressLine({ quiet: json })
    // Blocks come from the file, whose rows are not known before: one query takes less than reading them, so that `auto`
    // stays the CPU.
    const device = new Device({ kind, threads })
    try {
      const blocks = readVectorBlocks(values.vectors, { id, threads, signal })
      const onProgress = line.update
      const answers = await analogyVectors(blocks, from, less, more, {
        top,
        metric,
        exclude,
        device,
        signal,
        onProgress,
      })
      return { a, b, c, metric, answers }
    } finally {
      line.done()
      device.close()
    }
  },
  show({ a, b, c, metric, answers }) {
    const rows = answers.map(({ id, score }) => [id, score.toFixed(4)])
    return `${a} − ${b} + ${c}\n\n${markdownTable(['id', metric === 'cosine' ? 'cosine' : 'distance'], rows)}\n`
  },
})
