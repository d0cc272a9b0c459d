// The package as somebody installs it: into an empty folder, without install scripts and without a compiler.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import ts from 'typescript'
import { beforeAll, describe, expect, it } from 'vitest'
import { temporaryFolder } from './support/folder.js'
import { execute, packPackage, root, unpackPackage } from './support/package.js'

const folder = temporaryFolder()
const bare = join(folder, 'bare')
const tool = (path: string) => join(root, 'node_modules', path)
beforeAll(() => packPackage(), 120_000)

describe('the example', () => {
  const example = join(folder, 'example')

  it('installs without scripts and without a compiler, and runs', async () => {
    await cp(join(root, 'examples', 'score-users'), example, { recursive: true })
    // Nothing on PATH but what npm itself needs.
    await mkdir(bare)
    const npm = (await execute('sh', ['-c', 'command -v npm'], { cwd: root })).stdout.trim()
    for (const [name, file] of Object.entries({ node: process.execPath, npm, sh: '/bin/sh' })) {
      await symlink(file, join(bare, name))
    }
    const env = { ...process.env, PATH: bare }
    await expect(execute('sh', ['-c', 'command -v c++ g++ gcc cc make cmake'], { cwd: folder, env })).rejects.toThrow()
    const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error']
    const { stderr } = await execute('npm', ['install', ...flags, await packPackage()], { cwd: example, env })
    expect(stderr).toBe('')
    const { stdout } = await execute('npm', ['start', '--silent'], { cwd: example, env })
    expect(stdout).toMatch(
      /^trained \d+ steps, loss \d\.\d+\n200 users, 96 numbers each; mean score 0\.\d\d of risky ones/,
    )
    const [risky, others] = [.../mean score (\S+) of risky ones, (\S+) of/.exec(stdout)!].slice(1).map(Number)
    expect(risky).toBeGreaterThan(others + 0.3)
  })

  it('brings no packages that run', async () => {
    const lock = JSON.parse(await readFile(join(example, 'package-lock.json'), 'utf8'))
    expect(Object.keys(lock.packages).filter(Boolean).sort()).toEqual([
      'node_modules/node-addon-api',
      'node_modules/seqrisk',
    ])
    expect(lock.packages['node_modules/seqrisk'].hasInstallScript).toBeUndefined()
  })

  it('is required as it is imported', async () => {
    const program = `const { Device, variants } = require('seqrisk'); new Device().close(); console.log(variants().includes('scalar'))`
    const [major, minor] = process.versions.node.split('.').map(Number)
    const flag = major === 20 && minor < 19 ? ['--experimental-require-module'] : []
    const { stdout } = await execute(process.execPath, [...flag, '-e', program], { cwd: example })
    expect(stdout).toBe('true\n')
  })

  it('has a command', async () => {
    const { stdout } = await execute(join(example, 'node_modules', '.bin', 'seqrisk'), ['--version'], { cwd: example })
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })

  it('fetches nothing for a bench unasked', async () => {
    const calls = join(folder, 'npm-calls')
    const shims = join(folder, 'shims')
    await mkdir(shims)
    await writeFile(join(shims, 'npm'), `#!/bin/sh\necho called >> ${calls}\nexit 1\n`, { mode: 0o755 })
    const env = { ...process.env, PATH: `${shims}:${process.env.PATH}` }
    const bench = join(example, 'node_modules', '.bin', 'seqrisk')
    const firstLine = async (...flags: string[]) => {
      const child = spawn(bench, ['bench', 'encoder/inference', '--threads', '1', ...flags], { cwd: example, env })
      let line: string | undefined
      for await (line of createInterface({ input: child.stdout })) if (line.startsWith('encoder/inference')) break
      child.kill('SIGKILL')
      return line
    }
    expect(await firstLine()).toBe(
      'encoder/inference  SKIPPED: onnxruntime-node is not installed; seqrisk bench --install-peers fetches it (290 MB)',
    )
    expect(existsSync(calls)).toBe(false)
    expect(await firstLine('--install-peers')).toMatch(/SKIPPED: onnxruntime-node is not installed; .*npm ci/)
    expect(await readFile(calls, 'utf8')).toBe('called\n')
  })

  it.each([
    [
      'reads files',
      '@duckdb/node-api',
      ['aggregate', '--events', 'none.csv', '--schema', 'schema.json', '--out', 'x.csv'],
    ],
    ['reads tables', '@duckdb/node-api', ['iforest', '--table', 'none.csv', '--out', 'x.csv']],
  ])('without its optional packages, what %s asks for them by name', async (_, name, args) => {
    const schema = { entity: 'a', time: 'b', fields: { c: { kind: 'numeric' } } }
    await writeFile(join(example, 'schema.json'), JSON.stringify(schema))
    const call = execute(join(example, 'node_modules', '.bin', 'seqrisk'), args, { cwd: example })
    await expect(call).rejects.toThrow(
      `expected the optional package '${name}' but received none; run npm install ${name}`,
    )
  })

  it.each([
    ['usearch', `VectorIndex.build(table)`],
    ['usearch', `nearest(table, table.vectors, { index: 'usearch', top: 1 })`],
    ['umap-js', `mapVectors(table, { method: 'umap', neighbours: 2 })`],
  ])('without its optional package %s, %s asks for it by name', async (name, call) => {
    const program = `import { mapVectors, nearest, VectorIndex } from 'seqrisk'
      const table = { ids: ['a', 'b', 'c', 'd'], width: 2, vectors: Float32Array.of(1, 0, 0, 1, 1, 1, 2, 1) }
      await ${call}.catch(error => console.log(error.code, error.message))`
    const { stdout } = await execute(process.execPath, ['--input-type=module', '-e', program], { cwd: example })
    expect(stdout).toMatch(/^PACKAGE_MISSING /)
    expect(stdout).toContain(`expected the optional package '${name}' but received none; run npm install ${name}\n`)
  })

  it('without its optional packages, what draws asks for them by name', async () => {
    const program = `import { writeSvg, curvesPlot } from './node_modules/seqrisk/dist/lib/report/plot.js'
      await writeSvg('x.svg', curvesPlot({ title: '' }, { x: '', y: '' }, [{ series: 'a', points: [{ x: 0, y: 0 }] }])).catch(error => console.log(error.code, error.message))`
    const { stdout } = await execute(process.execPath, ['--input-type=module', '-e', program], { cwd: example })
    expect(stdout).toMatch(
      /^PACKAGE_MISSING .*'vega' and 'vega-lite' but received none; run npm install vega vega-lite\n$/,
    )
  })
})

describe('a bundle', () => {
  const users = join(folder, 'bundle')
  const out = join(users, 'dist', 'server')
  const optional = ['@duckdb/node-api', 'vega', 'vega-lite', 'usearch', 'umap-js']

  it('runs with the prebuilt binaries beside it, and says what it misses without', async () => {
    await unpackPackage(users)
    await writeFile(join(users, 'package.json'), '{ "name": "somebody", "type": "module" }')
    await writeFile(
      join(users, 'main.js'),
      `import { Device } from 'seqrisk'; new Device().close(); console.log('works')`,
    )
    const flags = ['--bundle', '--platform=node', '--format=esm', ...optional.map(name => `--external:${name}`)]
    await execute(tool('.bin/esbuild'), ['main.js', ...flags, `--outfile=${join(out, 'main.js')}`], { cwd: users })
    await expect(execute(process.execPath, ['main.js'], { cwd: out })).rejects.toThrow(
      `; put the package's folder prebuilds there, or name one of its files in $SEQRISK_BINARY`,
    )
    const common = flags.map(flag => flag.replace('esm', 'cjs'))
    await execute(tool('.bin/esbuild'), ['main.js', ...common, `--outfile=${join(out, 'main.cjs')}`], { cwd: users })
    await expect(execute(process.execPath, ['main.cjs'], { cwd: out })).rejects.toThrow(
      'received a bundle of another format; bundle as an ES module, or mark seqrisk as external',
    )
    const prebuilds = join(users, 'node_modules', 'seqrisk', 'prebuilds')
    await cp(prebuilds, join(out, 'prebuilds'), { recursive: true })
    expect((await execute(process.execPath, ['main.js'], { cwd: out })).stdout).toBe('works\n')
  })
})

describe('the tarball', () => {
  it('is in order, says publint', async () => {
    const { stdout } = await execute(process.execPath, [tool('publint/src/cli.js'), await packPackage(), '--strict'], {
      cwd: folder,
    })
    expect(stdout).toContain('All good!')
  })

  it('has types that resolve, says arethetypeswrong', async () => {
    // `require` of ES modules is what the engines of the package can.
    const rules = ['--ignore-rules', 'cjs-resolves-to-esm', '--profile', 'node16', '--format', 'json']
    const cli = tool('@arethetypeswrong/cli/dist/index.js')
    const { stdout } = await execute(process.execPath, [cli, await packPackage(), ...rules], { cwd: folder })
    // The exit code leaves out what is ignored; the report does not.
    expect(Object.keys(JSON.parse(stdout).problems)).toEqual(['CJSResolvesToESM'])
  })

  it('holds what it should, and nothing else', async () => {
    const { stdout } = await execute('tar', ['-tzf', await packPackage()], { cwd: folder })
    const names = stdout
      .trim()
      .split('\n')
      .map(name => name.replace('package/', ''))
    for (const name of [
      'LICENSE',
      'NOTICE',
      'licenses/Apache-2.0.txt',
      'README.md',
      'CHANGELOG.md',
      'dist/lib/index.js',
      'dist/lib/index.d.ts',
      'dist/binding.d.ts',
      'docs/tutorial.md',
      'native/exports.map',
      'CMakeLists.txt',
    ]) {
      expect(names).toContain(name)
    }
    const strays = names.filter(
      name =>
        !/^(dist|docs|licenses|native|cmake|prebuilds)\/|^(LICENSE|NOTICE|[A-Z]+\.md|CMakeLists\.txt|package\.json)$/.test(
          name,
        ),
    )
    expect(strays).toEqual([])
    expect(
      names.filter(name => /^native\/tests\/|\.test\.|\.map$/.test(name) && name !== 'native/exports.map'),
    ).toEqual([])
  })
})

/** Names of the exported types that callers fill in. */
function exportedOptions(): string[] {
  const index = join(root, 'lib', 'index.ts')
  const program = ts.createProgram([index], { module: ts.ModuleKind.NodeNext, types: [] })
  const checker = program.getTypeChecker()
  const names = checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(index)!)!)
  const filledIn = /(Options|Call|Control|Rules|Input|Init|Problem|Targets|ValidationRows|LabelTable|Field|ModelInfo)$/
  return names.map(({ name }) => name).filter(name => filledIn.test(name))
}

describe('its documents', () => {
  const users = join(folder, 'documents')
  const shipped = join(users, 'node_modules', 'seqrisk')
  const texts = new Map<string, string>()
  beforeAll(async () => {
    await unpackPackage(users)
    const names = await readdir(shipped, { recursive: true })
    for (const name of names.filter(name => /\.(md|d\.ts)$/.test(name))) {
      texts.set(name, await readFile(join(shipped, name), 'utf8'))
    }
  }, 120_000)

  it('link to what is in the package', () => {
    const links = [...texts].flatMap(([name, text]) => {
      const prose = text.replaceAll(/^```.*?^```/gms, '')
      const targets = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target.replace(/#.*/, ''))
      return targets.filter(target => target !== '' && !/^\w+:/.test(target)).map(target => ({ name, target }))
    })
    expect(links.length).toBeGreaterThan(100)
    expect(links.filter(({ name, target }) => !existsSync(join(shipped, name, '..', target)))).toEqual([])
  })

  it('cite none that is not in it', () => {
    expect(texts.size).toBeGreaterThan(100)
    expect([...texts].filter(([, text]) => /\b(DESIGN|STYLE)\b/.test(text)).map(([name]) => name)).toEqual([])
  })
})

describe('publishing', () => {
  it('ends with an error unless every prebuilt binary is there, of these sources and as it must be', async () => {
    const checkout = join(folder, 'checkout')
    await cp(join(root, '.ci'), join(checkout, '.ci'), { recursive: true })
    for (const name of ['package.json', 'CMakeLists.txt']) await cp(join(root, name), join(checkout, name))
    for (const name of ['cmake', 'native']) await mkdir(join(checkout, name))
    const kernel = join(checkout, 'native', 'kernel.cc')
    await writeFile(kernel, 'today')
    const publish = () => execute('npm', ['publish', '--dry-run', '--offline'], { cwd: checkout })
    await expect(publish()).rejects.toThrow(
      /\[publish\] linux-arm64-musl: expected .*seqrisk\.musl\.node but there is none/,
    )
    const binary = join(checkout, 'prebuilds', 'linux-x64', 'seqrisk.glibc.node')
    await mkdir(dirname(binary), { recursive: true })
    await writeFile(binary, 'no binary')
    await expect(publish()).rejects.toThrow(/\[publish\] linux-x64-glibc: readelf/)
    const stale = /\[publish\] linux-x64-glibc: expected .*seqrisk\.glibc\.node of today's sources/
    await expect(publish()).rejects.toThrow(stale)
    const { digestOf, prebuiltSources } = await import(join(checkout, '.ci', 'sources.mjs'))
    await writeFile(`${binary}.sources`, digestOf(checkout, prebuiltSources(checkout)))
    await expect(publish()).rejects.not.toThrow(stale)
    await writeFile(kernel, 'tomorrow')
    await expect(publish()).rejects.toThrow(stale)
    // Any program without kernels for cards.
    await cp('/bin/true', binary)
    await expect(publish()).rejects.toThrow(/\[publish\] linux-x64-glibc: has no CUDA kernels/)
  })
})

describe('its types', () => {
  const users = join(folder, 'types')
  const optionTypes = exportedOptions()
  const program = `
    import type * as all from 'seqrisk'
    import { type EventRow, Encoder, defineSchema, fromRows, pretrain } from 'seqrisk'
    const schema = defineSchema({ entity: 'id', time: 't', fields: { a: { kind: 'numeric' }, b: { kind: 'categorical' } } })
    type Row = EventRow<(typeof schema)['fields'], 'id', 't'>
    const rows: Row[] = [{ id: 1, t: 2, a: 3, b: 'x' }]
    export async function train(): Promise<Float32Array> {
      const { encoder } = await pretrain(fromRows(schema, rows), { epochs: 1 })
      const same: Encoder = encoder
      return (await same.encode(fromRows(schema, rows))).vectors
    }
    // Callers pass their own options on without looking at each.
    type Passed<T> = { [K in keyof T as {} extends Pick<T, K> ? K : never]?: T[K] | undefined }
    type Own<T> = Pick<T, keyof T & keyof Passed<T>>
    ${optionTypes.map(name => `export const of${name} = (given: Passed<all.${name}>): Own<all.${name}> => given`).join('\n    ')}
    // @ts-expect-error a number is no category's text field
    rows.push({ id: 1, t: 2, a: 'three', b: 'x' })
    // @ts-expect-error a misspelt option
    pretrain(fromRows(schema, rows), { epoch: 1 })
  `

  it.each([
    ['nodenext, from ES modules', 'user.mts', ['--module', 'nodenext']],
    ['nodenext, from CommonJS', 'user.cts', ['--module', 'nodenext']],
    ['bundler', 'user.ts', ['--module', 'preserve', '--moduleResolution', 'bundler']],
  ])('%s', async (_, file, options) => {
    await unpackPackage(users, ['@types/node']).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
    await writeFile(join(users, file), program)
    const strict = [
      '--strict',
      '--exactOptionalPropertyTypes',
      '--noUncheckedIndexedAccess',
      '--target',
      'es2022',
      '--types',
      'node',
    ]
    // Once without: the package's own declarations count, and they are the same for all.
    if (file !== 'user.mts') strict.push('--skipLibCheck')
    const args = [tool('typescript/bin/tsc'), '--noEmit', ...strict, ...options, file]
    await execute(process.execPath, args, { cwd: users })
  })
})
