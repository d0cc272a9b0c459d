// The reference of the package, from its docstrings: docs/api, one page per topic.
//
//   node .ci/docs.mjs [--check]    with --check, nothing is written: what differs or lacks a docstring is named
//
// A topic is a folder of lib/ that lib/index.ts exports from. Pages hold no line numbers and no version, so that they
// change when the public surface does and at no other time.

import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Application, Logger } from 'typedoc'

const TOPICS = {
  events: 'Schemas, sources of events, encoding, batches, tables and files of them.',
  encoder: 'The sequence encoder: from events to one vector per entity.',
  pretrain: 'Training an encoder on events without labels.',
  transfer: 'What vectors are used for: aggregates to put beside them, and models on labels.',
  trees: 'Boosted trees, random forests, isolation forests, K-Means.',
  pu: 'Few positives and no negatives: two-step learning with spies, active learning, sessions on disk.',
  report: 'Precision per band of scores, with intervals, and plans of what to label.',
  export: 'Files for other programs: ONNX, the text format of LightGBM, binned matrices.',
  runtime: 'Devices, tensors, tapes and optimisers, for own models.',
  util: 'Errors.',
}
/** Kinds that must say what they are. */
const DOCUMENTED = ['Class', 'Function', 'Interface', 'TypeAlias', 'Variable', 'Method', 'Accessor']

/** Named by public types, but nothing that a caller makes or takes apart. */
const INTERNAL = [
  'Disposable',
  'DType',
  'DeviceBatch',
  'Float',
  'FloatType',
  'Forest',
  'GradientSlot',
  'Head',
  'HostTensors',
  'LoopOptions',
  'NamedArrays',
  'OBJECTIVES',
  'OwnOptions',
  'Pass',
  'PU_METHODS',
  'SAMPLERS',
  'Steps',
  'TensorData',
  'Value',
  'BinnedHandle',
  'OffsetsHandle',
  'StreamHandle',
  'TensorHandle',
]

const root = fileURLToPath(new URL('..', import.meta.url))
const pages = join(root, 'docs', 'api')
const work = join(root, '.cache', 'docs')
const isCheck = process.argv.includes('--check')
const problems = []

class Kept extends Logger {
  log(message, level) {
    if (level >= 2) problems.push(message)
  }
}

rmSync(work, { recursive: true, force: true })
mkdirSync(work, { recursive: true })
const entryPoints = writeTopics()
const app = await Application.bootstrapWithPlugins({
  entryPoints,
  tsconfig: join(work, 'tsconfig.json'),
  basePath: work,
  plugin: ['typedoc-plugin-markdown'],
  out: join(work, 'api'),
  name: 'seqrisk',
  readme: 'none',
  sort: ['alphabetical'],
  kindSortOrder: ['Module', 'Function', 'Class', 'Interface', 'TypeAlias', 'Variable'],
  skipErrorChecking: true,
  disableSources: true,
  disableGit: true,
  excludePrivate: true,
  excludeProtected: true,
  excludeExternals: true,
  includeVersion: false,
  hideGenerator: true,
  hidePageHeader: true,
  hideBreadcrumbs: true,
  outputFileStrategy: 'modules',
  entryFileName: 'README',
  mergeReadme: false,
  useCodeBlocks: true,
  parametersFormat: 'table',
  interfacePropertiesFormat: 'table',
  classPropertiesFormat: 'table',
  typeDeclarationFormat: 'table',
  tableColumnSettings: { hideModifiers: true, hideInherited: true, hideOverrides: true },
  validation: { notExported: true, invalidLink: true, rewrittenLink: true, invalidPath: false, notDocumented: true },
  requiredToBeDocumented: DOCUMENTED,
  preservedTypeAnnotationTags: ['@throws'],
  intentionallyNotExported: INTERNAL,
})
app.logger = new Kept()
const project = await app.convert()
if (project) {
  app.validate(project)
  nameErrors(project)
  await app.generateOutputs(project)
}
if (isCheck) compare()
else if (project) {
  rmSync(pages, { recursive: true, force: true })
  cpSync(join(work, 'api'), pages, { recursive: true })
}
rmSync(work, { recursive: true, force: true })
for (const problem of problems) console.error(problem)
console.log(`docs: ${readdirSync(pages).length} pages, ${problems.length} problems`)
process.exit(problems.length === 0 ? 0 : 1)

/** One module per topic, which exports what lib/index.ts exports from that folder. */
function writeTopics() {
  const index = readFileSync(join(root, 'lib', 'index.ts'), 'utf8')
  const statements = [...index.matchAll(/^export [^;]*?from '\.\/(\w+)\/[^']+'$/gms)]
  const unknown = statements.map(([, topic]) => topic).filter(topic => !(topic in TOPICS))
  if (unknown.length > 0) problems.push(`.ci/docs.mjs: no topic for ${[...new Set(unknown)].join(', ')}`)
  writeFileSync(
    join(work, 'tsconfig.json'),
    JSON.stringify({ extends: '../../tsconfig.json', include: ['*.ts'], compilerOptions: { rootDir: '../..' } }),
  )
  return Object.entries(TOPICS).map(([topic, about]) => {
    const own = statements.filter(([, name]) => name === topic).map(([text]) => text.replace("'./", "'../../lib/"))
    const file = join(work, `${topic}.ts`)
    writeFileSync(file, [`/**\n * ${about}\n * @module ${topic}\n */`, ...own, ''].join('\n'))
    return file
  })
}

/** `@throws {RangeError} if …`: pages would leave out which error it is. */
function nameErrors(project) {
  for (const { comment } of Object.values(project.reflections)) {
    for (const tag of comment?.blockTags ?? []) {
      const name = /^\{(.*)\}$/.exec(tag.typeAnnotation ?? '')?.[1]
      if (name) tag.content.unshift({ kind: 'text', text: `${name.replaceAll('|', ' or ')} ` })
    }
  }
}

function compare() {
  const read = (folder, name) => (existsSync(join(folder, name)) ? readFileSync(join(folder, name), 'utf8') : null)
  const names = new Set([...readdirSync(join(work, 'api')), ...(existsSync(pages) ? readdirSync(pages) : [])])
  const stale = [...names].filter(name => read(pages, name) !== read(join(work, 'api'), name))
  if (stale.length > 0) problems.push(`docs/api: ${stale.join(', ')} differ from the docstrings; run npm run docs`)
}
