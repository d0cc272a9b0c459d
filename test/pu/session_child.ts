// A scripted session that may be killed at any moment and started again: session_child.ts FOLDER ROUNDS
// Prints `ready` when it begins, `ack ID…` when answers are on disk, and `done` at its end.

import { ActiveSession, type Answer, Device } from '../../lib/index.js'

const [folder, rounds] = [process.argv[2], Number(process.argv[3])]
const device = new Device({ threads: 1 })
const say = (text: string) => process.stdout.write(`${text}\n`)

/** What the expert says of an id, whoever asks when. */
export const scripted = (id: string): Answer => {
  const number = Number(id.slice(1))
  return number % 7 === 0 ? 'unsure' : number % 3 === 0 ? 1 : 0
}

say('ready')
for (;;) {
  const session = await ActiveSession.open(folder)
  const { rounds: asked, pending } = session.status()
  if (asked >= rounds && pending === 0) {
    await session.close()
    break
  }
  const { ids } = await session.ask(device)
  // In two parts, so that a batch is half answered now and then.
  const half = Math.ceil(ids.length / 2)
  for (const part of [ids.slice(0, half), ids.slice(half)]) {
    await session.answer(new Map(part.map(id => [id, scripted(id)])))
    say(`ack ${part.join(' ')}`)
  }
  await session.close()
}
say('done')
device.close()
