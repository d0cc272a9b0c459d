// Folders of spilled data: what processes leave that a signal ends is removed by the next ones, and nothing else is.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { defineSchema, readEvents } from '../../lib/events/index.js'
import { makeSpillFolder, removeSpillFolder } from '../../lib/events/spill.js'
import { EventFiles } from '../support/event_files.js'

const files = new EventFiles()

const spill = new URL('../../lib/events/spill.ts', import.meta.url).href
const schema = defineSchema({ entity: 'user', time: 'at', fields: { type: { kind: 'categorical' } } })
const events = files.write('.csv', 'user,at,type\nu,1,a\n')

let base: string
beforeEach(() => {
  base = files.emptyFolder()
})

/** Reads a file with `base` as temporary folder. */
async function read(): Promise<void> {
  const source = readEvents(events, schema, { temporaryFolder: base, threads: 1 })
  await source.summary()
  await source.close()
}

/** What a process leaves in `base` that made a folder there and ended so. */
function leftBy(ending: string): string[] {
  const script = `
    import { writeFileSync } from 'node:fs'
    import { makeSpillFolder } from ${JSON.stringify(spill)}
    writeFileSync((await makeSpillFolder(${JSON.stringify(base)}, 'spill')) + '/data', 'x')
    ${ending}`
  const before = readdirSync(base)
  const { stderr } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script])
  expect(stderr.toString()).toBe('')
  return readdirSync(base).filter(name => !before.includes(name))
}
const endedBy = (signal: string) => `process.kill(process.pid, '${signal}'); setInterval(() => {}, 1000)`

describe('spilled data', () => {
  it('is gone when its process ends by itself', () => {
    expect(leftBy('')).toEqual([])
  })

  it.each(['SIGTERM', 'SIGKILL'])('of a process that %s ended is removed by the next one', async signal => {
    const [left] = leftBy(endedBy(signal))
    expect(existsSync(join(base, left, 'data'))).toBe(true)
    await read()
    expect(readdirSync(base)).toEqual([])
  })

  it('needs a folder that is there', async () => {
    base = join(base, 'gone')
    await expect(read()).rejects.toMatchObject({
      code: 'DATABASE_FAILED',
      message: expect.stringMatching(
        /^\[readEvents\] expected to make a folder in .*gone but received ENOENT.*; name another temporaryFolder/,
      ),
    })
  })

  it('stays where its process lives, or is one of another machine; other names and files stay too', async () => {
    const own = await makeSpillFolder(base, 'spill')
    const [left] = leftBy(endedBy('SIGKILL'))
    const elsewhere = left.replace(/^seqrisk-[0-9a-f]{8}/, 'seqrisk-00000000')
    renameSync(join(base, left), join(base, elsewhere))
    const file = left.replace(/.{6}$/, 'a-file')
    writeFileSync(join(base, file), 'x')
    const others = [`${left}x`, 'seqrisk-abcdef', 'notes']
    for (const name of others) mkdirSync(join(base, name))
    const kept = [basename(own), elsewhere, file, ...others].sort()
    expect(readdirSync(base).sort()).toEqual(kept)
    await read()
    expect(readdirSync(base).sort()).toEqual(kept)
    removeSpillFolder(own)
    expect(existsSync(own)).toBe(false)
  })
})
