import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync } from 'node:fs'
import { readFile, readlink, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, vi } from 'vitest'
import { writeDemo } from '../../lib/demo/write.js'
import { seqrisk } from '../support/child.js'
import { temporaryFolder } from '../support/folder.js'

const main = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url))
const folder = temporaryFolder()
const files = await writeDemo(folder, { users: 120 })

describe('seqrisk', () => {
  it('goes from a CSV of events to an AUC, in JSON on stdout alone', async () => {
    const at = (name: string) => join(folder, name)
    const small = ['--width', '16', '--blocks', '1', '--heads', '2', '--epochs', '2', '--batch-events', '1024']
    const events = ['--events', files.events]
    const trained = await seqrisk(
      'pretrain',
      ...events,
      '--schema',
      files.schema,
      '--out',
      at('model'),
      ...small,
      '--json',
    )
    expect(trained.stderr).toBe('')
    expect(JSON.parse(trained.stdout)).toMatchObject({ out: at('model'), entities: 120, epochs: 2 })
    const encoded = await seqrisk('encode', '--model', at('model'), ...events, '--out', at('vectors.parquet'), '--json')
    expect(JSON.parse(encoded.stdout)).toMatchObject({ entities: 120, width: 96 })
    const later = ['--model', at('model'), ...events, '--as-of', '2024-12-31', '--out', at('later.csv')]
    expect((await seqrisk('encode', ...later)).code).toBe(0)
    const now = await seqrisk('encode', '--model', at('model'), ...events, '--out', at('now.csv'))
    expect(now.code).toBe(0)
    expect(await readFile(at('later.csv'), 'utf8')).not.toBe(await readFile(at('now.csv'), 'utf8'))
    const plan = ['--save-plan', at('plan.json')]
    const features = ['aggregate', '--schema', files.schema]
    const made = await seqrisk(...features, ...events, ...plan, '--out', at('features.csv'), '--json')
    expect(JSON.parse(made.stdout).entities).toBe(120)
    const headOf = async (file: string) => (await readFile(at(file), 'utf8')).split('\n')[0]
    expect((await headOf('features.csv')).startsWith('user_id,')).toBe(true)
    // Of a few users' events other values are frequent: the plan keeps the columns.
    const few = (await readFile(files.events, 'utf8')).split('\n').slice(0, 40)
    await writeFile(at('few.csv'), few.join('\n'))
    const daily = ['--events', at('few.csv'), '--plan', at('plan.json'), '--as-of', '2024-12-31']
    expect(await seqrisk(...features, ...daily, '--out', at('today.csv'))).toMatchObject({ code: 0 })
    expect(await headOf('today.csv')).toBe(await headOf('features.csv'))
    const probed = await seqrisk(
      'probe',
      ...['--vectors', at('vectors.parquet'), '--features', at('features.csv'), '--labels', files.labels],
      ...['--id', 'user_id', '--label', 'order', '--fold-column', 'fold', '--json'],
    )
    const result = JSON.parse(probed.stdout)
    expect(result).toMatchObject({ label: 'order', metric: 'auc', learner: 'linear', folds: 5 })
    // Users with a short history have no order label.
    expect(result.rows).toBeGreaterThan(30)
    expect(result.rows).toBeLessThan(120)
    for (const set of ['vectors', 'features', 'both']) expect(result.results[set].mean).toBeGreaterThan(0)
  })

  it('says the result of a probe alone, where it is over at once', async () => {
    const vectors = join(folder, 'few.vectors.csv')
    const rows = Array.from({ length: 40 }, (_, i) => `u${i},${i % 2},${(i * 7) % 5},${i % 2}`)
    await writeFile(vectors, ['id,v0,v1,y', ...rows].join('\n'))
    const ask = ['--vectors', vectors, '--labels', vectors, '--id', 'id', '--label', 'y']
    const { stdout, stderr, code } = await seqrisk('probe', ...ask)
    expect(stdout).toMatch(/^y: AUC, linear on 40 entities, 5 folds\n\n/)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })

  // By a link of our own, which a mistake may replace; /dev/stdout is one of the system's. Linux alone has /proc.
  it.skipIf(!existsSync('/proc/self/fd'))(
    'writes a table to standard output, which has nothing else then',
    async () => {
      const at = (name: string) => join(folder, name)
      const make = ['aggregate', '--events', files.events, '--schema', files.schema, '--out']
      expect((await seqrisk(...make, at('plain.csv'))).code).toBe(0)
      const plain = await readFile(at('plain.csv'), 'utf8')
      await symlink('/proc/self/fd/1', at('stdout.csv'))
      await writeFile(at('file.csv'), 'before\n')
      const command = `"$0" "$@" >> "${at('file.csv')}"`
      const args = ['-c', command, process.execPath, '--import', 'tsx', main, ...make, at('stdout.csv')]
      const said = await new Promise<string>(resolve => execFile('sh', args, (_, __, stderr) => resolve(stderr)))
      expect(said).toMatch(/features of 120 entities/)
      expect(await readFile(at('file.csv'), 'utf8')).toBe(`before\n${plain}`)
      expect(await readlink(at('stdout.csv'))).toBe('/proc/self/fd/1')
    },
  )

  // Linux alone has /proc.
  it.skipIf(!existsSync('/proc/self/fd')).each([
    ['plan', ['aggregate', '--events', files.events, '--schema', files.schema, '--out', 'kept.csv', '--save-plan']],
    ['model', ['gbrt', 'fit', '--table', 'rows.csv', '--target', 'y', '--num-iterations', '2', '--model']],
  ])('leaves standard output to a %s that goes there', async (name, make) => {
    const at = (file: string) => join(folder, file)
    const rows = Array.from({ length: 60 }, (_, row) => `${(row * 7) % 60},${row % 2}`)
    await writeFile(at('rows.csv'), ['x,y', ...rows].join('\n'))
    const args = make.map(word => (word.endsWith('.csv') && !word.includes('/') ? at(word) : word))
    expect((await seqrisk(...args, at(`plain.${name}`))).code).toBe(0)
    await symlink('/proc/self/fd/1', at(`stdout.${name}`))
    const command = ['-c', `"$0" "$@" > "${at(`file.${name}`)}"`, process.execPath, '--import', 'tsx', main]
    const all = [...command, ...args, at(`stdout.${name}`), '--json']
    const said = await new Promise<string>(resolve => execFile('sh', all, (_, __, stderr) => resolve(stderr)))
    expect(JSON.parse(said)).toBeTypeOf('object')
    expect(await readFile(at(`file.${name}`), 'utf8')).toBe(await readFile(at(`plain.${name}`), 'utf8'))
  })

  it('stops pre-training on Ctrl-C, says how to go on, and does not lose the checkpoint', {
    timeout: 120_000,
  }, async () => {
    const out = join(folder, 'stopped')
    const checkpoint = join(out, 'checkpoint.safetensors')
    const sizes = ['--width', '16', '--blocks', '1', '--heads', '2', '--epochs', '2000', '--batch-events', '1024']
    const args = ['pretrain', '--events', files.events, '--schema', files.schema, '--out', out, ...sizes]
    const child = spawn(process.execPath, ['--import', 'tsx', main, ...args, '--json'])
    let said = ''
    child.stderr.on('data', part => {
      said += part
    })
    const ended = new Promise(resolve => child.once('close', resolve))
    await vi.waitUntil(() => existsSync(checkpoint), { timeout: 60_000, interval: 20 })
    child.kill('SIGINT')
    expect(await ended).toBe(1)
    expect(said).toBe('seqrisk: expected to finish but received SIGINT; go on with --resume\n')
    const kept = await readFile(checkpoint)
    const again = await seqrisk(...args)
    expect(again).toMatchObject({ code: 1, stdout: '' })
    expect(again.stderr).toContain(`expected no unfinished run but received '${checkpoint}'; resume that run`)
    expect(await readFile(checkpoint)).toEqual(kept)
  })

  it('ends with 2 on wrong usage, and says what is right', async () => {
    const wrong: [string[], RegExp][] = [
      [['fly'], /expected a command but received 'fly'/],
      [['encode', '--modle', 'x'], /did you mean '--model'/],
      [['encode', '--model'], /--model/],
      [['encode', '--model', 'x'], /expected --events/],
      [
        ['encode', '--model', 'x', '--events', 'y', '--out', 'z.csv', '--as-of', 'today'],
        /--as-of to be an ISO date or a number/,
      ],
      [['score', '--model', 'x', '--events', 'y', '--out', 's.txt'], /--out to end in one of .csv/],
      [
        ['aggregate', '--events', 'a', '--schema', 'b', '--out', 'c.csv', '--plan', 'p', '--save-plan', 'q'],
        /--plan or --save-plan but received both/,
      ],
      [['pretrain', '--events', 'a', '--schema', 'b', '--out', 'c', '--epochs', 'many'], /--epochs to be a number/],
      [['pretrain', '--events', 'a', '--schema', 'b', '--out', 'c', '--attention', 'blocks'], /one of block/],
    ]
    for (const [args, message] of wrong) {
      const { code, stderr, stdout } = await seqrisk(...args)
      expect({ args, code, lines: stderr.trim().split('\n').length, stdout }).toEqual({
        args,
        code: 2,
        lines: 1,
        stdout: '',
      })
      expect(stderr).toMatch(message)
    }
  })

  it('takes no date for the present of events in plain numbers', async () => {
    const at = (file: string) => join(folder, file)
    await writeFile(at('steps.csv'), 'u,t,type\nx,5,a\nx,6,b\nx,7,a\n')
    const steps = { entity: 'u', time: 't', fields: { type: { kind: 'categorical' } } }
    await writeFile(at('steps.json'), JSON.stringify(steps))
    const make = ['aggregate', '--events', at('steps.csv'), '--schema', at('steps.json'), '--out', at('steps_out.csv')]
    const refused = await seqrisk(...make, '--as-of', '2024-07-01', '--json')
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toMatch(
      /^seqrisk: \[aggregate\] expected asOf as a number, .* received '2024-07-01T00:.*\n$/,
    )
    expect(existsSync(at('steps_out.csv'))).toBe(false)
    expect(await seqrisk(...make, '--as-of', '9', '--json')).toMatchObject({ code: 0 })
  })

  it('ends with 1 on a failure, with one clear line and nothing written', async () => {
    const out = join(folder, 'none.csv')
    const { code, stderr } = await seqrisk(
      'encode',
      '--model',
      join(folder, 'nowhere'),
      '--events',
      files.events,
      '--out',
      out,
    )
    expect(code).toBe(1)
    expect(stderr.trim().split('\n').length).toBe(1)
    expect(stderr).toMatch(/expected an existing folder but received '.*nowhere'; check the path/)
    expect(existsSync(out)).toBe(false)
  })

  it.each([
    ['a list', ['bench', '--list']],
    ['a version', ['--version']],
    ['help', ['encode', '--help']],
  ])('says nothing where nobody reads %s any more', async (_, args) => {
    const child = spawn(process.execPath, ['--import', 'tsx', main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.destroy()
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', text => {
      stderr += text
    })
    const [code] = await once(child, 'close')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })

  // Linux alone has /proc.
  it.skipIf(!existsSync('/proc/self/fd'))('ends quietly where nobody reads the table that it writes', async () => {
    const make = ['aggregate', '--events', files.events, '--schema', files.schema, '--out', '/dev/stdout', '--json']
    const command = `{ "$0" "$@"; echo "ended with $?" >&2; } | true`
    const args = ['-c', command, process.execPath, '--import', 'tsx', main, ...make]
    const said = await new Promise<string>(resolve => execFile('sh', args, (_, __, stderr) => resolve(stderr)))
    expect(said).toBe('ended with 0\n')
  })

  // A disk that is always full is a device of Linux.
  it.skipIf(!existsSync('/dev/full'))('ends with 1 and one line where stdout cannot be written', async () => {
    const full = openSync('/dev/full', 'w')
    const child = spawn(process.execPath, ['--import', 'tsx', main, '--help'], { stdio: ['ignore', full, 'pipe'] })
    closeSync(full)
    let stderr = ''
    child.stderr!.setEncoding('utf8').on('data', text => {
      stderr += text
    })
    const [code] = await once(child, 'close')
    expect(stderr).toMatch(/^seqrisk: expected to write to stdout but received .*ENOSPC.*\n$/)
    expect(code).toBe(1)
  })

  it('explains itself', async () => {
    const overview = (await seqrisk('--help')).stdout
    expect(overview).toMatch(/pretrain[\s\S]*encode[\s\S]*probe[\s\S]*aggregate/)
    for (const [said, meant] of [
      [['-h'], overview],
      [['help'], overview],
      [['help', 'encode'], (await seqrisk('encode', '--help')).stdout],
      [['encode', '-h'], (await seqrisk('encode', '--help')).stdout],
      [['help', 'gbrt', 'fit'], (await seqrisk('gbrt', 'fit', '--help')).stdout],
      [['gbrt', '-h'], (await seqrisk('gbrt', '--help')).stdout],
    ] as const) {
      expect(await seqrisk(...said)).toMatchObject({ code: 0, stdout: meant, stderr: '' })
    }
    for (const name of ['pretrain', 'encode', 'probe', 'aggregate']) {
      const { code, stdout } = await seqrisk(name, '--help')
      expect(code).toBe(0)
      expect(stdout).toMatch(/--json/)
    }
  })

  it('runs benches by name, and names them', async () => {
    const listed = await seqrisk('bench', '--list')
    expect(listed.stdout.split('\n')).toContain('ops/add')
    const { stdout, stderr, code } = await seqrisk('bench', 'ops/scale', '--json', '--threads', '1')
    const { names, lines } = JSON.parse(stdout) as { names: string[]; lines: { bench: string; line: string }[] }
    expect(names).toEqual(['ops/scale'])
    expect(lines[0].line).toMatch(/, 1 threads, .* GFLOP\/s, copy .* GB\/s/)
    expect(lines[1].line).toMatch(/^scale .* median .* ms/)
    expect(stderr.trim().split('\n').length).toBe(lines.length)
    expect(code).toBe(0)
    const unknown = await seqrisk('bench', 'nonsense')
    expect(unknown.stderr).toMatch(
      /expected the name of a bench but received 'nonsense'; use a part of one of .*ops\/add/,
    )
    expect(unknown.code).toBe(2)
  })
})
