import { describe, expect, it } from 'vitest'
import { AdamW } from '../../lib/runtime/optimizer.js'
import { Parameter } from '../../lib/runtime/tape.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectSameBits } from '../support/close.js'
import { openDevice } from '../support/devices.js'
import { TestRandom } from '../support/random.js'

const device = openDevice()

function parameters(values: number[][] = [[3, -2, 1], [0.5]]): Parameter[] {
  return values.map((value, i) => new Parameter(`p${i}`, Tensor.from(device, Float32Array.from(value))))
}

/** Gradients of step number `step`, a pure function of it. */
function setGradients(all: Parameter[], step: number): void {
  const random = new TestRandom(step)
  for (const { gradient } of all) gradient.write(Float32Array.from(random.normals(gradient.size)))
}

const values = (all: Parameter[]) => Promise.all(all.map(p => p.value.read()))

describe('AdamW', () => {
  it('finds the minimum of a quadratic', async () => {
    const all = parameters([[3, -2, 1, 0.5]])
    const optimizer = new AdamW(all, { weightDecay: 0 })
    for (let i = 0; i < 400; i++) {
      // The gradient of ½‖value − (1, …, 1)‖².
      all[0].gradient.write((await all[0].value.read()).map(x => x - 1))
      optimizer.step(0.05 * 0.99 ** i)
    }
    for (const x of (await values(all))[0]) expect(Math.abs(x - 1)).toBeLessThan(0.02)
    expect(optimizer.steps).toBe(400)
  })

  it('returns the norm, which can be read before the next step overwrites it', async () => {
    const all = parameters()
    const optimizer = new AdamW(all)
    all[0].gradient.write(Float32Array.of(3, 0, 0))
    all[1].gradient.write(Float32Array.of(4))
    const first = optimizer.step(0.1).read()
    const second = optimizer.step(0.1).read()
    expect([...(await first), ...(await second)]).toEqual([5, 0])
  })

  it('continues to the same bits after saving and loading', async () => {
    const straight = parameters()
    const a = new AdamW(straight)
    for (let i = 1; i <= 3; i++) {
      setGradients(straight, i)
      a.step(0.01)
    }
    const state = await a.state()
    const resumed = parameters((await values(straight)).map(value => [...value]))
    const b = new AdamW(resumed)
    b.load(state)
    expect(b.steps).toBe(3)
    for (const [optimizer, all] of [
      [a, straight],
      [b, resumed],
    ] as const) {
      for (let i = 4; i <= 13; i++) {
        setGradients(all, i)
        optimizer.step(0.01)
      }
    }
    const [left, right] = await Promise.all([values(straight), values(resumed)])
    for (const [i, value] of left.entries()) expectSameBits(right[i], value, `p${i}`)
    // Without the state the bits differ, so the comparison can fail.
    const fresh = parameters((await values(straight)).map(value => [...value]))
    setGradients(fresh, 14)
    setGradients(straight, 14)
    new AdamW(fresh).step(0.01)
    a.step(0.01)
    expect((await values(fresh))[0]).not.toEqual((await values(straight))[0])
  })

  it('names its state', async () => {
    const optimizer = new AdamW(parameters())
    const state = await optimizer.state()
    expect([...state.keys()]).toEqual(['adamw.step', 'adamw.m.p0', 'adamw.v.p0', 'adamw.m.p1', 'adamw.v.p1'])
    const later = new Map(state).set('adamw.step', { shape: [2], values: Float32Array.of(5, 3) })
    optimizer.load(later)
    expect(optimizer.steps).toBe(3 * 2 ** 24 + 5)
    expect((await optimizer.state()).get('adamw.step')?.values).toEqual(Float32Array.of(5, 3))
  })

  it('refuses a state of another model, and keeps its own', async () => {
    const optimizer = new AdamW(parameters())
    const state = new Map(await optimizer.state())
    const without = new Map(state)
    without.delete('adamw.v.p1')
    expect(() => optimizer.load(without)).toThrow(/expected 'adamw\.v\.p1' of shape \(1\) but received 'none'/)
    const other = new Map(state).set('adamw.m.p0', { shape: [2], values: new Float32Array(2) })
    expect(() => optimizer.load(other)).toThrow(RangeError)
    const broken = new Map(state).set('adamw.step', { shape: [2], values: Float32Array.of(0.5, 0) })
    expect(() => optimizer.load(broken)).toThrow(/whole number/)
    expect(optimizer.steps).toBe(0)
  })

  it('refuses no parameters, equal names and unknown options', () => {
    expect(() => new AdamW([])).toThrow(RangeError)
    const [one] = parameters()
    expect(() => new AdamW([one, one])).toThrow(/'p0' twice/)
    expect(() => new AdamW([one], { beta: 1 } as never)).toThrow(/did you mean/)
  })

  it('frees its state', async () => {
    const all = parameters()
    await device.sync()
    const before = device.info().liveBytes
    const optimizer = new AdamW(all)
    expect(device.info().liveBytes).toBeGreaterThan(before)
    optimizer.dispose()
    expect(device.info().liveBytes).toBe(before)
  })
})
