// What a pre-training step costs the JavaScript thread: preparing its batch, and enqueueing its ops. A card that needs
// less than both together waits for the host. Ops of the CPU are queued as a card's are; here each step begins with one
// that fails, so that its other ops are taken from the queue and skipped: none disturbs the thread that is timed.

import { Encoder } from '../../lib/encoder/encoder.js'
import type { EncodedEvents, InputColumn } from '../../lib/events/encode.js'
import { type EventEncoding, FIRST_VALUE, type InputSpec } from '../../lib/events/inputs.js'
import { gatherRows } from '../../lib/ops/gather_rows.js'
import type { ProxyTask } from '../../lib/pretrain/options.js'
import { Device } from '../../lib/runtime/device.js'
import { scope, Tensor } from '../../lib/runtime/tensor.js'
import { Philox } from '../../lib/util/philox.js'
import { median } from '../support/median.js'
import { CONFIG, ENCODING, evenEvents } from './contenders.js'
import { TrainingStep } from './training_step.js'

const USERS = 16
const LENGTH = 4000
const BINS = 32
const WARM_UP = 100
const STEPS = 200
const NO_ROW = Int32Array.of(7)
/** Milliseconds for one input, both together: a card is done with such a step in about as long. */
const TARGET_MS = 3

export default async function* hostStepBench(): AsyncGenerator<string> {
  for (const [inputs, tasks] of [
    [1, ['masked']],
    [1, ['masked', 'quick']],
    [10, ['masked']],
    [10, ['masked', 'quick']],
  ] satisfies [number, ProxyTask[]][]) {
    const { prepare, enqueue } = await measure(inputs, tasks)
    const whole = prepare + enqueue
    const isJudged = inputs === 1 && tasks.length === 1
    const verdict = isJudged ? `  (target ${TARGET_MS} ms${whole <= TARGET_MS ? '' : ', MISSED'})` : ''
    yield `encoder/host_step  ${USERS} × ${LENGTH} events  ${tasks.join(', ').padEnd(13)}  ` +
      `${inputs === 1 ? ' 1 input ' : `${inputs} inputs`}  prepare ${prepare.toFixed(2).padStart(5)} ms  ` +
      `enqueue ${enqueue.toFixed(2).padStart(5)} ms${verdict}`
  }
}

/** Medians over the steps, in milliseconds, after so many that code is compiled. */
async function measure(inputs: number, tasks: readonly ProxyTask[]): Promise<{ prepare: number; enqueue: number }> {
  const device = new Device({ kind: 'cpu', threads: 1 })
  const { encoding, events } = wideEvents(inputs)
  const encoder = new Encoder(encoding, { ...CONFIG, width: 4, heads: 1 }, { device, seed: 1 })
  const step = new TrainingStep(encoder, events, tasks)
  const samples = { prepare: [] as number[], enqueue: [] as number[] }
  for (let i = 0; i < WARM_UP + STEPS; i++) {
    const begun = performance.now()
    const prepared = step.prepare()
    const between = performance.now()
    scope(() => gatherRows(Tensor.zeros(device, 'float32', [1, 1]), Tensor.from(device, NO_ROW)))
    const losses = step.enqueue(prepared)
    step.reuse()
    const end = performance.now()
    const isSkipped = await losses.then(
      () => false,
      (error: Error) => error.message.includes('[gather_rows'),
    )
    if (!isSkipped) throw new Error('encoder/host_step: a step was not skipped')
    await device.sync().catch(() => {})
    if (i < WARM_UP) continue
    samples.prepare.push(between - begun)
    samples.enqueue.push(end - between)
  }
  step.dispose()
  encoder.dispose()
  device.close()
  return { prepare: median(samples.prepare), enqueue: median(samples.enqueue) }
}

/** The benches' one categorical field; more inputs are numeric and categorical by turns. */
function wideEvents(inputs: number): { encoding: EventEncoding; events: EncodedEvents } {
  const one = evenEvents(USERS, LENGTH)
  const random = new Philox(11)
  const specs: InputSpec[] = [...ENCODING.inputs]
  const columns: InputColumn[] = [...one.inputs]
  for (let i = 1; i < inputs; i++) {
    const name = `field ${i}`
    const codes = Int32Array.from(one.inputs[0].codes, () => FIRST_VALUE + random.below(BINS))
    const base = { name, field: name, part: 'field', size: FIRST_VALUE + BINS } as const
    if (i % 2 === 0) {
      specs.push({ ...base, kind: 'categorical', values: [], hash: BINS - 1 })
      columns.push({ name, field: name, kind: 'categorical', codes })
    } else {
      specs.push({ ...base, kind: 'numeric', edges: Array.from({ length: BINS + 1 }, (_, e) => e) })
      columns.push({
        name,
        field: name,
        kind: 'numeric',
        codes,
        fraction: Float32Array.from(codes, () => random.uniform()),
      })
    }
  }
  return { encoding: { ...ENCODING, inputs: specs }, events: { ...one, inputs: columns } }
}
