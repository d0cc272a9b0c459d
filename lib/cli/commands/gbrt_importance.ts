import { loadLightgbm } from '../../export/lightgbm.js'
import { markdownTable } from '../../report/table.js'
import { defineCommand } from '../command.js'

export const gbrtImportanceCommand = defineCommand({
  name: 'gbrt importance',
  about: 'how much each feature of a model brings: sum of gains, number of splits',
  options: {
    model: { kind: 'text', value: 'FILE', required: true, about: 'model that gbrt fit or LightGBM wrote' },
  },
  async run(values) {
    const model = await loadLightgbm(values.model)
    const gain = model.importance('gain')
    const split = model.importance('split')
    const features = model.info.names.map((name, f) => ({ name, gain: gain[f], split: split[f] }))
    features.sort((a, b) => b.gain - a.gain || b.split - a.split)
    return { model: values.model, features }
  },
  show({ features }) {
    const lines = features.map(({ name, gain, split }) => [name, gain.toPrecision(6), String(split)])
    return `${markdownTable(['feature', 'gain', 'splits'], lines)}\n`
  },
})
