import { resolve } from 'node:path'
import { workOf } from '../../encoder/config.js'
import { loadEncoder } from '../../encoder/model_files.js'
import { progressLine } from '../../report/progress.js'
import { Device } from '../../runtime/device.js'
import type { ScoreQuality } from '../../transfer/finetune/goal.js'
import { checkValues, type FinetuneOptions, type FinetuneTask } from '../../transfer/finetune/options.js'
import { finetune } from '../../transfer/finetune/source.js'
import { pickLabel } from '../../transfer/tables.js'
import { asUsage, defineCommand, UsageError } from '../command.js'
import { checkEvents, EVENTS, openEvents } from '../events.js'
import { PRECISION, precisionOf } from '../precision.js'
import { readWithTargets } from '../targets.js'

/** Events of a step, about: they decide whether a card pays. */
const USUAL_BATCH = 2048

const NAMES = { auc: 'AUC', macroAuc: 'macro AUC', r2: 'R²' } as const

export const finetuneCommand = defineCommand({
  name: 'finetune',
  about: 'train an encoder and a head on labels',
  options: {
    model: { kind: 'text', value: 'DIR', required: true, about: 'folder that pretrain wrote; stays as it is' },
    ...EVENTS,
    labels: { kind: 'text', value: 'FILE', required: true, about: 'labels: CSV or Parquet, one row per entity' },
    id: { kind: 'text', value: 'COL', required: true, about: 'column of the entity in the labels' },
    label: { kind: 'text', value: 'COL', required: true, about: 'column of the label; an empty cell is unknown' },
    out: { kind: 'text', value: 'DIR', required: true, writes: 'folder', about: 'folder for the fine-tuned model' },
    'fold-column': {
      kind: 'text',
      value: 'COL',
      about: 'fold of an entity: cross-validate first, then learn from all',
    },
    task: {
      kind: 'text',
      oneOf: ['auto', 'classification', 'regression'],
      about: 'what the label is',
      fallback: 'auto',
    },
    'from-scratch': { kind: 'flag', about: 'sizes and encoding of the model, but random weights' },
    epochs: { kind: 'number', value: 'N', about: 'epochs of everything (default: by the number of labels)' },
    'batch-size': { kind: 'number', value: 'N', about: 'labelled sequences per step' },
    window: { kind: 'number', value: 'N', about: 'newest events of a sequence that training sees (default 4096)' },
    lr: { kind: 'number', value: 'X', about: 'peak learning rate of the last block' },
    'head-lr': { kind: 'number', value: 'X', about: 'peak learning rate of the head' },
    'layer-decay': { kind: 'number', value: 'X', about: 'learning rate of a block over that of the one above' },
    'weight-decay': { kind: 'number', value: 'X', about: 'weight decay' },
    dropout: { kind: 'number', value: 'X', about: 'share of the vector that the head does not see' },
    'encoder-dropout': { kind: 'number', value: 'X', about: 'share of activations dropped in the encoder' },
    'class-weights': {
      kind: 'text',
      value: 'balanced|none|W,W,…',
      about: 'weights of the classes, by ascending label',
    },
    validation: {
      kind: 'text',
      value: 'cross|X',
      about: 'what to judge on: cross-validation, or a share of the labels (default: by their number)',
    },
    mixing: {
      kind: 'text',
      value: 'validated|X',
      about: 'share of the way from the fitted head and encoder to the trained ones',
    },
    patience: { kind: 'number', value: 'N', about: 'epochs without a better validation before stopping' },
    'stop-on': { kind: 'text', oneOf: ['score', 'loss'], about: 'what a better validation is' },
    precision: PRECISION,
    resume: {
      kind: 'flag',
      about: 'go on from the checkpoint in --out; nothing to do where the run has ended, refused where another has',
    },
    restart: { kind: 'flag', about: 'begin anew although --out holds an unfinished run, which is lost then' },
  },
  async run(values, { signal, seed, threads, device: kind, json }) {
    checkEvents(values, { threads })
    const line = progressLine({ quiet: json })
    const given = {
      task: values.task as FinetuneTask | 'auto',
      epochs: values.epochs,
      batchSize: values['batch-size'],
      window: values.window,
      learningRate: values.lr,
      headLearningRate: values['head-lr'],
      layerDecay: values['layer-decay'],
      weightDecay: values['weight-decay'],
      dropout: values.dropout,
      encoderDropout: values['encoder-dropout'],
      classWeights: classWeightsOf(values['class-weights']),
      validation: wordOrNumber('validation', 'cross', values.validation),
      mixing: wordOrNumber('mixing', 'validated', values.mixing),
      patience: values.patience,
      stopOn: values['stop-on'] as 'score' | undefined,
      resume: values.resume,
      restart: values.restart,
      out: values.out,
      seed,
      signal,
      onProgress: line.update,
    }
    asUsage(() => checkValues(given))
    if (resolve(values.out) === resolve(values.model)) {
      throw new UsageError('expected --out to be another folder than --model but received the same')
    }
    const { label, id, 'fold-column': foldColumn } = values
    const columns = foldColumn === undefined ? [label] : [label, foldColumn]
    const device = new Device({
      kind,
      threads,
      precision: precisionOf(values.precision),
      work: 3 * workOf(USUAL_BATCH),
    })
    const begun = performance.now()
    try {
      const { encoder, schema } = await loadEncoder(values.model, { device })
      const { encoding, config } = encoder
      const init = values['from-scratch'] ? { encoding, config } : encoder
      const reading = { id, columns, numeric: columns, threads, signal }
      const table = await readWithTargets('labels', values.labels, label, reading)
      const labels = pickLabel(table, label, foldColumn)
      const source = openEvents(values, schema, { threads })
      try {
        const { model, rows, absent, folds } = await finetune(source, labels, { ...given, init, device })
        const { task, classes, best, mixing, log } = model
        const epochs = log.at(-1)?.epoch ?? 0
        return {
          label,
          task,
          ...(task === 'classification' && { classes }),
          rows,
          absent,
          epochs,
          loss: log.at(-1)?.loss ?? null,
          validation: best?.quality ?? null,
          bestEpochs: best?.epochs ?? epochs,
          mixing,
          folds,
          out: values.out,
          seconds: (performance.now() - begun) / 1000,
        }
      } finally {
        await source.close()
      }
    } finally {
      line.done()
      device.close()
    }
  },
  show({ label, task, rows, absent, epochs, bestEpochs, mixing, validation, folds, out, seconds }) {
    const lines = [`${label}: ${task} on ${rows} entities, ${epochs} epochs in ${seconds.toFixed(0)} s`]
    if (absent > 0) lines.push(`  ${absent} labels without events`)
    if (folds) {
      const { metric, score, accuracy, rmse } = folds
      const also = accuracy ?? rmse
      const other = also ? `, ${accuracy ? 'accuracy' : 'RMSE'} ${plain(also)}` : ''
      lines.push(`  ${NAMES[metric]} over ${folds.folds.length} folds: ${plain(score)}${other}`)
    }
    if (validation) lines.push(`  kept out: ${quality(validation)}; ${bestOf(bestEpochs, mixing)}`)
    return [...lines, `model in ${out}`, ''].join('\n')
  },
})

function plain({ mean, sd }: { mean: number; sd: number }): string {
  return `${mean.toFixed(4)} ± ${sd.toFixed(4)}`
}

function quality({ metric, score, loss }: ScoreQuality): string {
  return `${NAMES[metric]} ${score.toFixed(4)}, loss ${loss.toFixed(4)}`
}

function bestOf(epochs: number, mixing: number): string {
  if (epochs === 0) return 'the fitted head is best, and the encoder stays as it was'
  return mixing < 1 ? `best is ${100 * mixing} % of the way to ${epochs} epochs` : `best after ${epochs} epochs`
}

function wordOrNumber<W extends string>(option: string, word: W, text: string | undefined): number | W | undefined {
  if (text === undefined || text === word) return text as W | undefined
  if (text.trim() !== '' && Number.isFinite(Number(text))) return Number(text)
  throw new UsageError(`expected --${option} to be ${word} or a number but received '${text}'`)
}

function classWeightsOf(text: string | undefined): FinetuneOptions['classWeights'] {
  if (text === undefined || text === 'balanced' || text === 'none') return text
  const weights = text.split(',').map(Number)
  if (weights.every(weight => weight > 0 && Number.isFinite(weight))) return weights
  throw new UsageError(`expected --class-weights to be balanced, none or numbers above 0 but received '${text}'`)
}
