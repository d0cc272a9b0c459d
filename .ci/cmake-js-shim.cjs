#!/usr/bin/env node
'use strict'
// prebuildify calls node-gyp; this answers in its place and calls cmake-js. SEQRISK_CMAKE_ARGS adds arguments.
const { spawnSync } = require('node:child_process')
const { join } = require('node:path')

const given = process.argv.slice(2)
const arch = (given.find(argument => argument.startsWith('--arch=')) ?? '').slice(7) || process.arch
const cmakeJs = join(require.resolve('cmake-js/package.json'), '..', 'bin', 'cmake-js')
const extra = (process.env.SEQRISK_CMAKE_ARGS ?? '').split(/\s+/).filter(Boolean)
const config = given.includes('--debug') ? 'Debug' : 'Release'
const result = spawnSync(process.execPath, [cmakeJs, 'rebuild', '--arch', arch, '--config', config, ...extra], {
  stdio: 'inherit',
})
process.exit(result.status ?? 1)
