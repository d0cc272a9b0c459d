import { workOf } from '../../encoder/config.js'
import { loadSchema } from '../../events/schema.js'
import { checkOptions, type PretrainOptions, type ProxyTask } from '../../pretrain/options.js'
import { pretrain } from '../../pretrain/pretrain.js'
import { progressLine } from '../../report/progress.js'
import { Device } from '../../runtime/device.js'
import { asUsage, defineCommand } from '../command.js'
import { checkEvents, EVENTS, openEvents } from '../events.js'
import { PRECISION, precisionOf } from '../precision.js'

/** Events of a step where nothing is said, about: their number follows that of all events. */
const USUAL_BATCH = 2048

export const pretrainCommand = defineCommand({
  name: 'pretrain',
  about: 'train an encoder on unlabelled events',
  options: {
    ...EVENTS,
    schema: { kind: 'text', value: 'FILE', required: true, about: 'schema: entity, time and fields' },
    out: { kind: 'text', value: 'DIR', required: true, writes: 'folder', about: 'folder for the model' },
    width: {
      kind: 'number',
      value: 'D',
      about: 'width of an event’s vector; a sequence’s has up to 6 D numbers by default (default 128)',
    },
    blocks: { kind: 'number', value: 'N', about: 'encoder blocks (default 3)' },
    kernel: { kind: 'number', value: 'N', about: 'convolution width, odd (default 5)' },
    dilation: { kind: 'number', value: 'N', about: 'convolution dilation (default 1)' },
    attention: { kind: 'text', oneOf: ['block', 'fixed', 'full', 'none'], about: 'attention (default block)' },
    'attention-size': { kind: 'number', value: 'N', about: 'block length or memory slots (default 64)' },
    heads: { kind: 'number', value: 'N', about: 'attention heads (default 4)' },
    convolution: {
      kind: 'text',
      oneOf: ['depthwise', 'dense', 'none'],
      about: 'convolution (default depthwise)',
    },
    gate: { kind: 'text', oneOf: ['depthwise', 'pointwise'], about: 'gate of the convolution (default depthwise)' },
    recurrence: { kind: 'text', oneOf: ['none', 'gru'], about: 'recurrent layer (default none)' },
    'feed-forward': { kind: 'number', value: 'N', about: 'inner width of a feed-forward layer (default 0: none)' },
    pooling: { kind: 'text', oneOf: ['mean', 'max', 'last'], about: 'events to one vector (default mean)' },
    'no-skip': { kind: 'flag', about: 'vectors without the embeddings’ mean' },
    extremes: { kind: 'flag', about: 'vectors with the sketch’s largest values too' },
    sketch: { kind: 'number', value: 'N', about: 'most numbers of the sketch in a vector, 0 for none (default 4 D)' },
    dropout: { kind: 'number', value: 'X', about: 'share of activations dropped (default 0)' },
    tasks: { kind: 'list', value: 'masked,quick', oneOf: ['masked', 'quick'], about: 'proxy tasks (default both)' },
    epochs: { kind: 'number', value: 'N', about: 'passes over the events (default: by their number)' },
    'batch-events': { kind: 'number', value: 'N', about: 'events per step (default: by their number)' },
    window: { kind: 'number', value: 'N', about: 'longest sequence of a step (default: --batch-events)' },
    lr: { kind: 'number', value: 'X', about: 'peak learning rate (default 0.002)' },
    'held-out': { kind: 'number', value: 'X', about: 'share of entities for the held-out loss (default 0.05)' },
    patience: {
      kind: 'number',
      value: 'N',
      about: 'epochs without a better held-out loss before stopping (default 0: never)',
    },
    precision: PRECISION,
    resume: {
      kind: 'flag',
      about: 'go on from the checkpoint in --out; nothing to do where the run has ended, refused where another has',
    },
    restart: { kind: 'flag', about: 'begin anew although --out holds an unfinished run, which is lost then' },
  },
  async run(values, { signal, seed, threads, device: kind, json }) {
    const options: PretrainOptions = {
      width: values.width,
      blocks: values.blocks,
      kernel: values.kernel,
      dilation: values.dilation,
      attention: values.attention as 'block' | undefined,
      attentionSize: values['attention-size'],
      heads: values.heads,
      convolution: values.convolution as 'depthwise' | undefined,
      gate: values.gate as 'depthwise' | undefined,
      recurrence: values.recurrence as 'gru' | undefined,
      feedForward: values['feed-forward'],
      pooling: values.pooling as 'mean' | undefined,
      skip: values['no-skip'] ? false : undefined,
      sketch: values.sketch,
      extremes: values.extremes || undefined,
      dropout: values.dropout,
      tasks: values.tasks as ProxyTask[] | undefined,
      epochs: values.epochs,
      batchEvents: values['batch-events'],
      window: values.window,
      learningRate: values.lr,
      heldOut: values['held-out'],
      patience: values.patience,
      resume: values.resume,
      restart: values.restart,
      out: values.out,
      seed,
    }
    asUsage(() => checkOptions(options))
    checkEvents(values, { threads })
    const schema = await loadSchema(values.schema)
    const source = openEvents(values, schema, { threads })
    const { width, blocks, 'batch-events': batch = USUAL_BATCH, precision } = values
    const device = new Device({
      kind,
      threads,
      precision: precisionOf(precision),
      work: 3 * workOf(batch, { width, blocks }),
    })
    const line = progressLine({ quiet: json })
    const begun = performance.now()
    try {
      const { encoder, log } = await pretrain(source, { ...options, device, signal, onProgress: line.update })
      line.done()
      const last = log.at(-1)!
      const { entities, events } = encoder.encoding
      const seconds = (performance.now() - begun) / 1000
      return { ...last, out: values.out, entities, events, epochs: log.length, seconds }
    } finally {
      line.done()
      device.close()
      await source.close()
    }
  },
  show({ out, entities, events, epochs, loss, heldOutLoss, terms, heldOutTerms, seconds }) {
    const rows = Object.entries(terms).map(([name, { loss, accuracy }]) => {
      const held = heldOutTerms[name]
      return `  ${name.padEnd(28)} loss ${loss.toFixed(3)}  accuracy ${(100 * accuracy).toFixed(1)} %${held ? `  held out ${(100 * held.accuracy).toFixed(1)} %` : ''}`
    })
    const held = heldOutLoss === null ? '' : `, held out ${heldOutLoss.toFixed(3)}`
    return [
      `${events} events of ${entities} entities, ${epochs} epochs in ${seconds.toFixed(0)} s: loss ${loss.toFixed(3)}${held}`,
      ...rows,
      `model in ${out}`,
      '',
    ].join('\n')
  },
})
