import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { writeVectors } from '../../lib/events/index.js'
import { seqrisk } from '../support/child.js'
import { temporaryFolder } from '../support/folder.js'

const folder = temporaryFolder()

/** A row of letters and a column of numbers, vectors that add up. */
const ids = ['a', 'b', 'c'].flatMap(letter => [1, 2, 3, 4].map(number => `${letter}${number}`))
const vectors = Float32Array.from(
  ids.flatMap(([l, n]) => [1, 2, 3, 4].map(i => Math.sin(i * l.charCodeAt(0)) + Number(n) ** (i / 2))),
)
const files = ['csv', 'parquet'].map(ending => join(folder, `vectors.${ending}`))
for (const file of files) await writeVectors(file, 'user', ids, vectors)

describe('seqrisk analogy', () => {
  it('lists the nearest, in CSV and Parquet alike', async () => {
    const question = ['--a', 'a1', '--b', 'a3', '--c', 'c3']
    const answers = []
    for (const file of files) {
      const { code, stdout, stderr } = await seqrisk('analogy', '--vectors', file, ...question, '--json')
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      answers.push(JSON.parse(stdout))
    }
    expect(answers[0]).toMatchObject({ a: 'a1', b: 'a3', c: 'c3', metric: 'cosine' })
    expect(answers[0].answers.length).toBe(9)
    expect(answers[0].answers[0].id).toBe('c1')
    expect(answers[1]).toEqual(answers[0])
    const shown = await seqrisk('analogy', '--vectors', files[0], ...question, '--top', '2', '--metric', 'euclidean')
    expect(shown.stdout).toMatch(/a1 − a3 \+ c3\n\n\| id {2}\| distance \|\n.*\n\| c1 .*\n\| .*\n$/)
  })

  it('says what is wrong', async () => {
    const rest = ['--b', 'a3', '--c', 'c3']
    const unknown = await seqrisk('analogy', '--vectors', files[0], '--a', 'zz', ...rest)
    expect(unknown.stderr).toBe("seqrisk: [analogy] expected ids of the table but received 'zz'; ids look like 'a3'\n")
    expect(unknown.code).toBe(1)
    const none = await seqrisk('analogy', '--vectors', files[0], '--a', 'a1', ...rest, '--top', '0')
    expect(none.stderr).toMatch(/expected --top N, a whole number/)
    expect(none.code).toBe(2)
  })
})

describe('seqrisk map', () => {
  it('writes a table, or draws with labels', async () => {
    const table = join(folder, 'map.csv')
    const made = await seqrisk('map', '--vectors', files[1], '--out', table, '--json')
    expect(JSON.parse(made.stdout)).toMatchObject({ out: table, method: 'pca', entities: 12 })
    const lines = (await readFile(table, 'utf8')).trim().split('\n')
    expect(lines[0]).toBe('user,x,y')
    expect(lines.length).toBe(13)
    const labels = join(folder, 'labels.csv')
    await writeFile(labels, `user,letter\n${ids.map(id => `${id},letter ${id[0]}`).join('\n')}\n`)
    const out = join(folder, 'map.svg')
    const drawn = await seqrisk('map', '--vectors', files[0], '--out', out, '--labels', labels, '--label', 'letter')
    expect(drawn.stdout).toMatch(/12 vectors by pca, [\d.]+ % and [\d.]+ % of variance: .*map.svg/)
    const svg = await readFile(out, 'utf8')
    for (const text of ['letter a', 'letter b', 'letter c']) expect(svg).toContain(text)
    const wrong = await seqrisk('map', '--vectors', files[0], '--out', out, '--labels', labels)
    expect(wrong.code).toBe(2)
  })
})
