// Turns what CUDA adds to the syntax of C++ into calls of emulator.h: launches, and variables in shared memory. Lines
// stay where they are, and errors name the real file.
//
//   node translate.mjs FROM TO

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

const [from, to] = process.argv.slice(2)
const source = readFileSync(from, 'utf8')
mkdirSync(dirname(to), { recursive: true })
writeFileSync(to, `#line 1 "${from}"\n${launches(sharedMemory(source))}`)

function sharedMemory(text) {
  const dynamic = /extern __shared__ (?:__align__\(\d+\) )?([\w:]+) (\w+)\[\];/g
  const still = /__shared__ ([^;]*?\b)(\w+)((?:\[[^;]*\])?);/g
  const translated = text
    .replace(dynamic, '$1* const $2 = static_cast<$1*>(emulator::dynamic_shared());')
    .replace(
      still,
      (_, type, name, size) =>
        `struct Shared_${name} { ${type}${name}${size}; }; auto& ${name} = emulator::shared<Shared_${name}>("${name}").${name};`,
    )
  if (/__shared__ /.test(withoutComments(translated))) throw new Error(`${from}: __shared__ as nobody wrote it before`)
  return translated
}

/** kernel<A, B><<<grid, threads>>>(x, y) becomes emulator::launch("kernel", emulator::Config(grid, threads), …)(x, y). */
function launches(text) {
  for (let at = text.indexOf('<<<'); at >= 0; at = text.indexOf('<<<')) {
    const begin = beginOfKernel(text, at)
    const end = text.indexOf('>>>', at)
    const kernel = text.slice(begin, at)
    const config = text.slice(at + 3, end)
    const call = `emulator::launch("${kernel.trim()}", emulator::Config(${config}), [=](auto... values) { ${kernel.trim()}(values...); })`
    const lines = (text.slice(begin, end).match(/\n/g) ?? []).length - (call.match(/\n/g) ?? []).length
    text = text.slice(0, begin) + call + '\n'.repeat(lines) + text.slice(end + 3)
  }
  return text
}

/** Where the name begins whose template arguments, if it has some, end before `end`. */
function beginOfKernel(text, end) {
  let at = text.slice(0, end).trimEnd().length
  for (let depth = 0; text[at - 1] === '>' || depth > 0; --at) {
    if (text[at - 1] === '>') ++depth
    if (text[at - 1] === '<') --depth
  }
  return at - text.slice(0, at).match(/[\w:]+$/)[0].length
}

function withoutComments(text) {
  return text.replace(/\/\/.*/g, '')
}
