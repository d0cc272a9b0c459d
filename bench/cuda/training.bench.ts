// A pre-training step on a card (masked event type, 1 000 classes, AdamW): ours in float32 and bfloat16 against PyTorch's
// encoder and Transformer in bfloat16, one after the other.

import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { EncodedEvents } from '../../lib/events/encode.js'
import { FIRST_VALUE } from '../../lib/events/inputs.js'
import { cudaStatus, Device, type DeviceOptions } from '../../lib/runtime/device.js'
import { Philox } from '../../lib/util/philox.js'
import { benchEncoder, CLASSES, CONFIG } from '../encoder/contenders.js'
import { TrainingStep } from '../encoder/training_step.js'
import { median } from '../support/median.js'

const WIDTH = 256
const STEPS = 10
const TURNS = 5
/** Lengths of accounts' histories, as card data has them: most are short, some are long. */
const UNEVEN = Array.from({ length: 256 }, (_, i) => Math.round(4000 * ((i + 1) / 256) ** 4) + 8)
const SHAPES: { name: string; lengths: number[]; models: string[] }[] = [
  {
    name: '16 × 4000',
    lengths: Array(16).fill(4000),
    models: ['encoder', 'encoder compiled', 'transformer compiled'],
  },
  { name: '256 × 8 … 4008, uneven', lengths: UNEVEN, models: ['encoder compiled', 'transformer compiled'] },
]

interface TorchLine {
  readonly name?: string
  readonly seconds?: number[]
  readonly gigabytes?: number
  readonly product?: number
  readonly torch?: string
}

export default async function* cudaTraining(): AsyncGenerator<string> {
  const { devices, missing } = cudaStatus()
  if (devices.length === 0) {
    yield `cuda/training  SKIPPED: ${missing}`
    return
  }
  for (const { name, lengths, models } of SHAPES) {
    const events = lengths.reduce((sum, length) => sum + length, 0)
    const rate = (seconds: number) => `${(events / seconds / 1e6).toFixed(2)} M events/s`
    const ours = new Map<string, number>()
    for (const options of [
      { precision: 'float32' },
      { precision: 'bfloat16' },
      { precision: 'bfloat16', graphs: true },
    ] as const) {
      const { prepared, whole, megabytes } = await measure(lengths, options)
      const way = `${options.precision}${'graphs' in options ? ', in graphs' : ''}`
      ours.set(way, prepared)
      yield `cuda/training  ${name}  ours ${way}  ${(1000 * prepared).toFixed(2)} ms  ${rate(prepared)}` +
        `  (with new batches from the host ${(1000 * whole).toFixed(2)} ms; ${megabytes.toFixed(0)} MB)`
    }
    for (const line of torchLines(lengths, models)) {
      if (line.product)
        yield `cuda/training  PyTorch ${line.torch}: bfloat16 product ${(line.product / 1e12).toFixed(0)} TFLOP/s`
      if (!line.seconds) continue
      const seconds = median(line.seconds)
      const ratio = seconds / (ours.get('bfloat16') ?? Number.NaN)
      yield `cuda/training  ${name}  PyTorch ${line.name}  ${(1000 * seconds).toFixed(2)} ms  ${rate(seconds)}` +
        `  ours bfloat16 ${ratio.toFixed(2)}×  (${(1000 * (line.gigabytes ?? 0)).toFixed(0)} MB)`
    }
  }
}

async function measure(lengths: readonly number[], options: DeviceOptions) {
  const device = new Device({ kind: 'cuda', ...options })
  const encoder = benchEncoder(device, { width: WIDTH })
  const step = new TrainingStep(encoder, eventsOf(lengths), ['masked'])
  const time = async (fresh: boolean) => {
    const samples: number[] = []
    for (let turn = 0; turn <= TURNS; turn++) {
      const begun = performance.now()
      await step.run(STEPS, fresh)
      if (turn > 0) samples.push((performance.now() - begun) / 1000 / STEPS)
    }
    return median(samples)
  }
  const prepared = await time(false)
  const whole = await time(true)
  const megabytes = device.info().peakBytes / 1e6
  step.dispose()
  encoder.dispose()
  device.close()
  return { prepared, whole, megabytes }
}

function eventsOf(lengths: readonly number[]): EncodedEvents {
  const random = new Philox(7)
  const offsets = new Int32Array(lengths.length + 1)
  for (const [i, length] of lengths.entries()) offsets[i + 1] = offsets[i] + length
  const events = offsets[lengths.length]
  const codes = Int32Array.from({ length: events }, () => FIRST_VALUE + random.below(CLASSES - FIRST_VALUE))
  return {
    ids: lengths.map((_, i) => `user ${i}`),
    offsets,
    time: new Float64Array(events),
    inputs: [{ name: 'type', field: 'type', kind: 'categorical', codes }],
  }
}

/** `SEQRISK_BENCH_TORCH=none` leaves PyTorch out: compiling takes it most of a minute. */
function torchLines(lengths: readonly number[], models: readonly string[]): TorchLine[] {
  if (process.env.SEQRISK_BENCH_TORCH === 'none') return []
  const { blocks, kernel, heads, attentionSize: block } = CONFIG
  const options = { users: lengths.length, lengths, width: WIDTH, blocks, kernel, heads, block, classes: CLASSES }
  const script = fileURLToPath(new URL('../peers/torch_cuda.py', import.meta.url))
  try {
    const output = execFileSync('python3', [script, JSON.stringify({ ...options, steps: 20, models })], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    return output
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as TorchLine)
  } catch (error) {
    const { stderr = String(error) } = error as { stderr?: string }
    return [{ name: `failed: ${stderr.trim().split('\n').at(-1)}`, seconds: [Number.NaN] }]
  }
}
