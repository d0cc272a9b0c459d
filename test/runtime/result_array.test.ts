import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { Tensor } from '../../lib/runtime/tensor.js'
import { openDevice } from '../support/devices.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

// Plain JavaScript: little else fits into the address space that is left.
const PROGRAM = `
  const binding = require('./build/Release/seqrisk.node')
  const stream = binding.stream_open(1, '', false, 0, false)
  const [ints, doubles] = [new Int32Array(0), new Float64Array(0)]
  const forest = (features, classes) =>
    binding.forest_create(features, classes, 1, ints, ints, doubles, new Uint8Array(0), ints, ints, doubles, Int32Array.of(0), ints)
  const restored = binding.binned_restore(stream, Uint8Array.of(0), Uint8Array.of(0), Int32Array.of(0), doubles, new Uint8Array(0))
  binding.binned_reserve(restored, 1 << 20)
  const tensor = binding.tensor_create(stream, 'float32', [3 << 26])
  const rows = new Float64Array(1 << 20)
  const attempts = {
    predict: () => binding.forest_predict(stream, forest(1, 4095), rows, 0, 1 << 20, 0, 0),
    longest: () => binding.forest_predict(stream, forest(1, 4096), rows, 0, 1 << 20, 0, 0),
    binned: () => binding.forest_predict_binned(stream, forest(1, 4095), restored, 0, 1 << 20, 0, 0),
    shap: () => binding.forest_shap(stream, forest(1, 4095), rows, 0, 1 << 20, 0, 1, doubles, doubles),
    read: () => binding.tensor_read(tensor),
  }
  const main = async () => {
    for (const [name, attempt] of Object.entries(attempts)) {
      try {
        await attempt()
        console.log(name, 'has memory')
      } catch (error) {
        console.log(name, error.code, error.message)
      }
    }
    const small = await binding.forest_predict(stream, forest(1, 2), rows, 0, 3, 0, 0)
    console.log('works', small.length, small.constructor.name)
  }
  main()`

function run(before: string): string[] {
  // Node itself asks for about one gigabyte, the tensor and its copy for 0.8 each.
  const command = 'ulimit -v 2600000; exec "$0" -e "$1"'
  const result = spawnSync('sh', ['-c', command, process.execPath, before + PROGRAM], {
    cwd: root,
    encoding: 'utf8',
    timeout: 60_000,
  })
  expect(result, result.stderr).toMatchObject({ status: 0, signal: null })
  return result.stdout.trim().split('\n')
}

describe('results that find no memory', () => {
  // Linux alone limits an address space.
  it.runIf(process.platform === 'linux')('are an OUT_OF_MEMORY with their size, and the process lives', () => {
    const lines = run('')
    const sentence = (name: string, where: string, size: string, width: number) =>
      `${name} OUT_OF_MEMORY [${where}] expected memory for a result of ${size} values of ${width} bytes but received none; ask for fewer at a time`
    expect(lines).toEqual([
      sentence('predict', 'forest', '1048576 × 4095', 8),
      sentence('longest', 'forest', '1048576 × 4096', 8),
      sentence('binned', 'forest', '1048576 × 4095', 8),
      sentence('shap', 'forest', '1048576 × 4095 × 2', 8),
      sentence('read', 'tensor_read', '201326592', 4),
      'works 6 Float64Array',
    ])
  })

  it('come from the classes that JavaScript had when the addon was loaded', async () => {
    const device = openDevice({ threads: 1 })
    const own = globalThis.Float32Array
    const tensor = Tensor.from(device, new Float32Array([1, 2]), [2])
    try {
      globalThis.Float32Array = class Other {} as unknown as Float32ArrayConstructor
      expect(Object.getPrototypeOf(await tensor.read())).toBe(own.prototype)
    } finally {
      globalThis.Float32Array = own
    }
  })
})
