import { describe, expect, it } from 'vitest'
import { describe as line, progressLine } from '../../lib/report/progress.js'

const step = {
  phase: 'train',
  done: 50,
  total: 200,
  epoch: 1,
  epochs: 4,
  loss: 1.23456,
  eventsPerSecond: 45_678,
  secondsLeft: 75,
}

function terminal(isTTY: boolean) {
  const written: string[] = []
  return { isTTY, columns: 80, write: (text: string) => written.push(text), written }
}

describe('progress line', () => {
  it('says where training stands, how fast, and how long', () => {
    expect(line(step, false)).toBe('train    25 %  epoch 2/4  loss 1.235  46 k events/s  1 min 15 s left')
    expect(line({ phase: 'read', done: 7, total: Number.NaN }, true)).toBe('read    7')
  })

  it('redraws one line on a terminal, and clears it in the end', () => {
    const stream = terminal(true)
    const bar = progressLine({ stream })
    bar.update(step)
    bar.update(step)
    bar.done()
    bar.done()
    expect(stream.written.length).toBe(2)
    expect(stream.written[0]).toContain('██████░')
    expect(stream.written[0].length).toBeLessThan(90)
    expect(stream.written[1]).toBe('\r\x1b[2K')
  })

  it('writes a plain line now and then elsewhere, and nothing when quiet', () => {
    const plain = terminal(false)
    const every = progressLine({ stream: plain, every: 3600 })
    every.update(step)
    every.update(step)
    every.done()
    expect(plain.written).toEqual([`${line(step, false)}\n`])
    const quiet = terminal(true)
    progressLine({ stream: quiet, quiet: true }).update(step)
    expect(quiet.written).toEqual([])
  })
})
