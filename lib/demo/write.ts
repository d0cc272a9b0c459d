// Writes the embedded data set as the files that the command reads: events.csv, labels.csv, schema.json.

import { join } from 'node:path'
import { quoted } from '../events/write.js'
import { writeFileAtomic } from '../util/files.js'
import { type DemoData, type DemoOptions, generateDemo } from './generator.js'

export interface DemoFiles {
  readonly events: string
  readonly labels: string
  readonly schema: string
}

/** Generates the data set and writes it to `dir`, which is made if it is missing. Each file appears whole or not at all. */
export async function writeDemo(dir: string, options: DemoOptions = {}): Promise<DemoFiles & { data: DemoData }> {
  const data = generateDemo(options)
  const write = async (name: string, text: string) => {
    const path = join(dir, name)
    await writeFileAtomic(path, text)
    return path
  }
  return {
    events: await write('events.csv', eventsCsv(data)),
    labels: await write('labels.csv', labelsCsv(data)),
    schema: await write('schema.json', `${JSON.stringify(data.schema, null, 2)}\n`),
    data,
  }
}

function eventsCsv({ events }: DemoData): string {
  const lines = ['user_id,time,event,channel,category,amount,note']
  for (let i = 0; i < events.user_id.length; i++) {
    const time = `${new Date(events.time[i]).toISOString().slice(0, 19)}Z`
    const cells = [events.event[i], events.channel[i], events.category[i], number(events.amount[i]), events.note[i]]
    lines.push([events.user_id[i], time, ...cells.map(cell => quoted(cell ?? ''))].join(','))
  }
  return `${lines.join('\n')}\n`
}

function labelsCsv({ labels }: DemoData): string {
  const lines = ['user_id,risk,type,order,fold']
  for (let i = 0; i < labels.user_id.length; i++) {
    const values = [labels.risk[i], labels.type[i], labels.order[i]].map(number)
    lines.push([labels.user_id[i], ...values, labels.fold[i]].join(','))
  }
  return `${lines.join('\n')}\n`
}

function number(value: number): string {
  return Number.isNaN(value) ? '' : String(value)
}
