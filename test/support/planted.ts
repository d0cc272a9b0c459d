// Events with planted labels, for tests of fine-tuning. `order` hangs on which of two events comes first, `kind` on which
// events there are, `size` on their amounts.

import { type EventRow, encodeSource, fitEncoding, fromRows } from '../../lib/events/index.js'
import { defineSchema } from '../../lib/events/schema.js'
import { TestRandom } from './random.js'

export const plantedSchema = defineSchema({
  entity: 'user',
  time: 'time',
  fields: { type: { kind: 'categorical' }, amount: { kind: 'numeric', buckets: 8 } },
})

export interface PlantedLabels {
  readonly ids: readonly string[]
  /** 0 or 1. */
  readonly order: Float64Array
  /** 0, 1 or 2. */
  readonly kind: Float64Array
  readonly size: Float64Array
}

/** Users with 6 … 20 events; the same for the same number. */
export function plantedSource(users: number) {
  const random = new TestRandom(users)
  const rows: EventRow<(typeof plantedSchema)['fields'], 'user', 'time'>[] = []
  const labels = {
    ids: [] as string[],
    order: new Float64Array(users),
    kind: new Float64Array(users),
    size: new Float64Array(users),
  }
  for (let user = 0; user < users; user++) {
    const id = `user ${user}`
    labels.ids.push(id)
    const order = random.integer(0, 1)
    const kind = random.integer(0, 2)
    const size = random.normal()
    labels.order[user] = order
    labels.kind[user] = kind
    labels.size[user] = 100 + 20 * size
    let time = 0
    const add = (type: string) => {
      time += random.integer(1, 10)
      rows.push({ user: id, time, type, amount: 10 + 3 * size + random.normal() })
    }
    for (let pair = random.integer(2, 6); pair > 0; pair--) {
      for (const type of order === 1 ? ['first', 'second'] : ['second', 'first']) add(type)
      add(random.next() < 0.7 ? `kind ${kind}` : `kind ${random.integer(0, 2)}`)
    }
  }
  return { source: fromRows(plantedSchema, rows), labels: labels as PlantedLabels }
}

/** The same, encoded. */
export async function plantedEvents(users: number) {
  const { source, labels } = plantedSource(users)
  const encoding = await fitEncoding(source)
  return { source, labels, encoding, encoded: await encodeSource(source, encoding) }
}
