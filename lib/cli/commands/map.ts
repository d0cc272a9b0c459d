import { type ReadTableOptions, readTable } from '../../events/table.js'
import { readVectors } from '../../events/vectors.js'
import { writeTable } from '../../events/write.js'
import { mapPlot } from '../../report/map_plot.js'
import { writeSvg } from '../../report/plot.js'
import { progressLine } from '../../report/progress.js'
import { Device } from '../../runtime/device.js'
import { type MapMethod, mapVectors } from '../../transfer/map.js'
import { defineCommand, UsageError } from '../command.js'
import { TABLE } from '../outputs.js'

export const mapCommand = defineCommand({
  name: 'map',
  about: 'vectors in two dimensions, as a table or drawn',
  options: {
    vectors: { kind: 'text', value: 'FILE', required: true, about: 'vectors that encode wrote' },
    out: {
      kind: 'text',
      value: 'FILE',
      required: true,
      writes: [...TABLE, '.svg'],
      about: 'id, x and y in .csv or .parquet, or an .svg drawing',
    },
    method: { kind: 'text', oneOf: ['pca', 'umap'], about: 'largest variance, or neighbours kept', fallback: 'pca' },
    neighbours: { kind: 'number', range: 'whole [2, ∞)', value: 'N', about: 'of umap (default 15)' },
    labels: { kind: 'text', value: 'FILE', about: 'colour the drawing by a column of this table' },
    label: { kind: 'text', value: 'COL', about: 'the column of the label' },
    id: { kind: 'text', value: 'COL', about: 'column of the entity (default: the one beside the vectors)' },
  },
  async run(values, { signal, seed, threads, device: kind, json }) {
    const { labels: labelFile, label, id, out, neighbours } = values
    if ((labelFile === undefined) !== (label === undefined)) {
      throw new UsageError('expected --labels FILE and --label COL together but received one of them')
    }
    const isDrawn = /\.svg$/i.test(out)
    if (labelFile !== undefined && !isDrawn) throw new UsageError(`expected --out with .svg but received '${out}'`)
    const method = values.method as MapMethod
    const table = await readVectors(values.vectors, { id, threads, signal })
    const rows = table.ids.length
    // Of principal components, and of the neighbours that umap looks for.
    const work = Math.max(table.width, method === 'umap' ? rows : 0) * rows * table.width
    const device = new Device({ kind, threads, work })
    const line = progressLine({ quiet: json })
    try {
      const onProgress = line.update
      const map = await mapVectors(table, { method, neighbours, seed, device, signal, onProgress })
      const result = { out, method, entities: rows, explained: map.explained }
      if (!isDrawn) {
        await writeTable(out, table.idColumn, map, { signal })
        return result
      }
      const names =
        label === undefined ? undefined : await labelsOf(labelFile!, label, table.idColumn, { threads, signal })
      const title = 'Map of vectors'
      const plot = mapPlot({ title, subtitle: label === undefined ? method : `${label}, ${method}` }, map, names)
      await writeSvg(out, plot.specification)
      return { ...result, drawn: plot.drawn }
    } finally {
      line.done()
      device.close()
    }
  },
  show({ out, method, entities, explained }) {
    const shares = explained
      ? `, ${explained.map(share => `${(100 * share).toFixed(1)} %`).join(' and ')} of variance`
      : ''
    return `${entities} vectors by ${method}${shares}: ${out}\n`
  },
})

async function labelsOf(
  file: string,
  label: string,
  id: string,
  control: Pick<ReadTableOptions, 'threads' | 'signal'>,
): Promise<Map<string, string>> {
  const { ids, texts } = await readTable(file, { id, columns: [label], text: [label], ...control })
  return new Map(ids.map((one, row) => [one, texts[label][row] ?? '']))
}
