import { describe, expect, it, vi } from 'vitest'
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
    expect(line(step)).toBe('train    25 %  epoch 2/4  loss 1.235  46 k events/s  1 min 15 s left')
    expect(line({ ...step, fold: 2, folds: 5 })).toContain('25 %  fold 2/5  epoch 2/4  loss')
    expect(line({ phase: 'read', done: 7, total: Number.NaN }, 80)).toBe('read    7')
  })

  it('makes room by a shorter bar, then none, then without loss and epoch', () => {
    const shown = (width: number) => line(step, width)
    const end = '   25 %  epoch 2/4  loss 1.235  46 k events/s  1 min 15 s left'
    expect(shown(120)).toBe(`train   ${'█'.repeat(6)}${'░'.repeat(18)}${end}`)
    expect(shown(79)).toBe(`train   ██${'░'.repeat(7)}${end}`)
    expect(shown(70)).toBe(`train  ${end.slice(1)}`)
    expect(shown(60)).toBe('train    25 %  epoch 2/4  46 k events/s  1 min 15 s left')
    expect(shown(50)).toBe('train    25 %  46 k events/s  1 min 15 s left')
    expect(shown(20)).toBe('train    25 %  46 k ')
    // The longest that training says.
    const most = { ...step, phase: 'train', done: 1, total: 1, epoch: 98, epochs: 100, loss: 10.5 }
    for (let width = 48; width < 130; width++) {
      const said = line({ ...most, eventsPerSecond: 19.8e6, secondsLeft: 86_000 }, width)
      expect(said).toMatch(/^train .*100 % .*19.8 M events\/s {2}23 h 53 min left$/)
      expect(said.length).toBeLessThanOrEqual(width)
    }
  })

  it('redraws one line on a terminal, and clears it in the end', () => {
    const stream = terminal(true)
    const bar = progressLine({ stream })
    bar.update(step)
    bar.update(step)
    bar.done()
    bar.done()
    expect(stream.written.length).toBe(2)
    expect(stream.written[0]).toBe(`\r\x1b[2K${line(step, 79)}`)
    expect(stream.written[0]).toMatch(/█+░+ {3}25 % .* 1 min 15 s left$/)
    expect(stream.written[1]).toBe('\r\x1b[2K')
  })

  it('writes a plain line now and then elsewhere, none of a call that is over soon', () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const plain = terminal(false)
    const bar = progressLine({ stream: plain, every: 10 })
    const after = (seconds: number) => {
      vi.advanceTimersByTime(1000 * seconds)
      bar.update(step)
      return plain.written.length
    }
    expect([0, 9, 2, 0, 9, 2].map(after)).toEqual([0, 0, 1, 1, 1, 2])
    bar.done()
    expect(plain.written).toEqual(new Array(2).fill(`${line(step)}\n`))
    vi.useRealTimers()
  })

  it('writes nothing when quiet', () => {
    const quiet = terminal(true)
    progressLine({ stream: quiet, quiet: true }).update(step)
    expect(quiet.written).toEqual([])
  })
})
