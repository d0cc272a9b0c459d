// npm run bench -- NAME…    runs the benches whose names contain a NAME, or all; lines go to stdout. Peers of this checkout's
//                           own are fetched where they are missing.

import { runBenches } from './run.js'

try {
  const names = process.argv.slice(2).filter(name => !name.startsWith('--'))
  for await (const { line } of runBenches({ names, installPeers: true })) console.log(line)
} catch (error) {
  if (!(error instanceof RangeError && error.message.startsWith('[bench]'))) throw error
  console.error(error.message)
  process.exitCode = 2
}
