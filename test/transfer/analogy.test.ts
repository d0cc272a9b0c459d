import { describe, expect, it } from 'vitest'
import { analogyTable, evaluateAnalogy } from '../../bench/evaluate/analogy.js'
import type { VectorTable } from '../../lib/events/table.js'
import { analogies, analogy, analogyVectors } from '../../lib/transfer/analogy.js'
import { TestRandom } from '../support/random.js'

/** Vectors that add up: one for the row, one for the column, and noise. */
function grid(): VectorTable {
  const random = new TestRandom(3)
  const width = 12
  const part = () => Float32Array.from({ length: width }, () => random.normal())
  const rows = Array.from({ length: 5 }, part)
  const columns = Array.from({ length: 6 }, part)
  const ids: string[] = []
  const vectors: number[] = []
  rows.forEach((row, r) => {
    columns.forEach((column, c) => {
      ids.push(`${r}.${c}`)
      for (let i = 0; i < width; i++) vectors.push(row[i] + column[i] + 0.05 * random.normal())
    })
  })
  return { ids, width, vectors: Float32Array.from(vectors) }
}

const table = grid()
const vectorOf = (id: string) => {
  const row = table.ids.indexOf(id)
  return table.vectors.slice(row * table.width, (row + 1) * table.width)
}

describe('analogy', () => {
  it('finds the fourth corner', async () => {
    const answers = await analogy(table, '0.0', '0.1', '2.1', { top: 3 })
    expect(answers.length).toBe(3)
    expect(answers[0].id).toBe('2.0')
    expect(answers[0].score).toBeGreaterThan(0.99)
    expect(answers[1].score).toBeLessThan(answers[0].score)
    const [near] = await analogy(table, '0.0', '0.1', '2.1', { top: 1, metric: 'euclidean' })
    expect(near.id).toBe('2.0')
    expect(near.score).toBeLessThan(1)
  })

  it('leaves the question out of the answers, or what it is told to', async () => {
    const ids = async (exclude?: string[]) =>
      (await analogy(table, '0.0', '0.0', '2.1', { top: 2, exclude })).map(({ id }) => id)
    expect(await ids([])).toContain('2.1')
    expect(await ids()).not.toContain('2.1')
    expect(await ids(['1.1'])).not.toContain('1.1')
    const all = await analogy(table, '0.0', '0.1', '2.1', { top: 100 })
    expect(all.length).toBe(table.ids.length - 3)
  })

  it('answers many questions as one by one, and vectors as entities', async () => {
    const questions = [
      { a: '0.0', b: '0.1', c: '2.1' },
      { a: '4.5', b: '4.2', c: '3.2' },
    ]
    const together = await analogies(table, questions, { top: 4 })
    for (const [i, { a, b, c }] of questions.entries()) {
      expect(await analogy(table, a, b, c, { top: 4 })).toEqual(together[i])
      const own = await analogyVectors(table, vectorOf(a), vectorOf(b), vectorOf(c), { top: 4, exclude: [a, b, c] })
      expect(own).toEqual(together[i])
    }
  })

  it('names ids that nobody has, or two have', async () => {
    await expect(analogy(table, '0.0', 'x', '2.1')).rejects.toMatchObject({
      code: 'ID_UNKNOWN',
      message: "[analogy] expected ids of the table but received 'x'; ids look like '0.0'",
    })
    const twice = { ...table, ids: table.ids.with(1, '0.0') }
    await expect(analogy(twice, '0.0', '1.1', '2.1')).rejects.toThrow(/'0.0' once/)
    await expect(analogy(table, '0.0', '0.1', '2.1', { tip: 3 } as object)).rejects.toThrow(/did you mean 'top'/)
    await expect(analogies(table, [])).rejects.toThrow(/one question or more/)
    const short = vectorOf('0.0').slice(1)
    await expect(analogyVectors(table, short, vectorOf('0.1'), short)).rejects.toThrow(/three vectors of one width/)
  })
})

describe('vectors of a log whose structure is known', () => {
  it('keep methods and places as directions, and amounts in order and size', async () => {
    const result = await evaluateAnalogy({ users: 1000 })
    const [, trained] = result.encoders
    expect(result.candidates).toBe(48)
    for (const { questions, at1, at10 } of [trained.composed, trained.drawn]) {
      expect(questions).toBe(6 * 5 * 8 * 7)
      expect(at1).toBeGreaterThan(0.9)
      expect(at10).toBeGreaterThanOrEqual(at1)
    }
    // The last layer knows when a history ended, which no question asks for; the rest of the vector hardly does.
    expect(trained.drawnAnyDay.at1).toBeGreaterThan(0.9)
    expect(trained.amounts.order).toBeGreaterThan(0.95)
    expect(trained.amounts.size).toBeGreaterThan(0.95)
    expect(analogyTable(result).split('\n').length).toBe(4)
  }, 120_000)
})
