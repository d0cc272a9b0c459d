// The embedded data set: invented users of a payment app with known labels, a pure function of (users, seed).
// `risk` hinges partly on counts and partly on order and rhythm, `type` on the mix of events, and `order` on nothing
// but the order inside pairs of events: no aggregate over a user's events can tell it.

import { expectOptions, expectRange } from '../util/errors.js'
import { Philox } from '../util/philox.js'
import {
  common,
  type Episode,
  type HourProfile,
  hourProfiles,
  pair,
  type Step,
  takeover,
  userTypes,
} from './episodes.js'

export interface DemoOptions {
  /** Number of users; 2000 unless told, about 100 000 events. */
  readonly users?: number
  readonly seed?: number
}

/** Events of all users, column by column, sorted by user and time. */
export interface DemoEvents {
  readonly user_id: string[]
  /** Milliseconds since 1970, UTC, whole seconds. */
  readonly time: Float64Array
  readonly event: string[]
  readonly channel: (string | null)[]
  readonly category: (string | null)[]
  /** NaN where the event has no amount. */
  readonly amount: Float64Array
  readonly note: (string | null)[]
}

/** One row per user; NaN is an unknown label. */
export interface DemoLabels {
  readonly user_id: string[]
  /** 1 = risky, about 9 in 100. */
  readonly risk: Float64Array
  /** Index into `demoTypes`. */
  readonly type: Float64Array
  /** 1 = the top-up stands first in every pair, 0 = the transfer does; unknown for short histories. */
  readonly order: Float64Array
  /** 0 … 4, a random permutation of the users, not stratified. */
  readonly fold: Int32Array
}

export interface DemoData {
  readonly events: DemoEvents
  readonly labels: DemoLabels
  readonly schema: typeof demoSchema
}

export const demoTypes: readonly string[] = userTypes.map(type => type.name)

export const demoSchema = {
  entity: 'user_id',
  time: 'time',
  fields: {
    event: { kind: 'categorical' },
    channel: { kind: 'categorical' },
    category: { kind: 'categorical' },
    amount: { kind: 'numeric' },
    note: { kind: 'text' },
  },
} as const

const dayMs = 86_400_000
const firstDay = Date.UTC(2024, 0, 1)
const maxLength = 400
/** Shortest history that gets pairs, and events per pair in it. */
const pairsFrom = 18
const eventsPerPair = 6
/** Philox streams: users count up from 0, what concerns all of them counts down from the top. */
const foldStream = 0xffffffff

/** A stretch of events that is placed in time as a whole. */
interface Unit {
  readonly steps: readonly Step[]
  readonly hours: HourProfile
  /** Starts on a later day than the unit before it. */
  readonly freshDay: boolean
}

/** A step with its content drawn. */
interface Content {
  readonly event: string
  readonly channel: string | null
  readonly category: string | null
  readonly amount: number
  readonly note: string | null
}

/** Draws the whole data set: same options, same bytes. */
export function generateDemo(options: DemoOptions = {}): DemoData {
  expectOptions('generateDemo', options, ['users', 'seed'])
  const { users = 2000, seed = 0 } = options
  expectRange(Number.isInteger(users) && users >= 1 && users <= 1e6, 'generateDemo', 'users in [1, 1e6]', users)
  const times: number[] = []
  const amounts: number[] = []
  const events: DemoEvents = {
    user_id: [],
    time: new Float64Array(0),
    event: [],
    channel: [],
    category: [],
    amount: new Float64Array(0),
    note: [],
  }
  const labels: DemoLabels = {
    user_id: [],
    risk: new Float64Array(users),
    type: new Float64Array(users),
    order: new Float64Array(users),
    fold: new Int32Array(users),
  }
  const width = String(users - 1).length
  for (let user = 0; user < users; user++) {
    const id = `u${String(user).padStart(width, '0')}`
    const history = drawUser(new Philox(seed, user))
    labels.user_id.push(id)
    labels.risk[user] = history.risk
    labels.type[user] = history.type
    labels.order[user] = history.order
    for (const { time, content } of history.events) {
      events.user_id.push(id)
      times.push(time)
      events.event.push(content.event)
      events.channel.push(content.channel)
      events.category.push(content.category)
      amounts.push(content.amount)
      events.note.push(content.note)
    }
  }
  const ranks = new Philox(seed, foldStream).shuffle(Int32Array.from({ length: users }, (_, i) => i))
  for (let user = 0; user < users; user++) labels.fold[user] = ranks[user] % 5
  return {
    events: { ...events, time: Float64Array.from(times), amount: Float64Array.from(amounts) },
    labels,
    schema: demoSchema,
  }
}

function drawUser(rng: Philox) {
  const type = rng.choice(userTypes.map(t => t.share))
  const risk = rng.uniform() < userTypes[type].risk ? 1 : 0
  const order = rng.below(2)
  const target = Math.min(maxLength, Math.max(1, Math.round(30 * Math.exp(1.0 * rng.normal()))))
  const pairs = target < pairsFrom ? 0 : Math.floor(target / eventsPerPair)
  const units = baseUnits(rng, type, risk, target - 4 * (pairs + (pairs > 0 ? 1 : 0)))
  const known = pairs > 0 && placePairs(rng, units, pairs)
  const events = placeInTime(rng, units, userTypes[type].pace, order === 1)
  return { type, risk, order: known ? order : Number.NaN, events }
}

/** Episodes of the type, of everybody, and of the risk behaviour, in random order, `events` events or a few more. */
function baseUnits(rng: Philox, type: number, risk: number, events: number): Unit[] {
  const units: Unit[] = []
  let left = Math.max(1, events)
  const push = (unit: Unit) => {
    units.push(unit)
    left -= unit.steps.length
  }
  const own = userTypes[type].episodes
  // How much of the type shows differs from user to user.
  const ownShare = 0.45 + 0.35 * rng.uniform()
  for (const unit of riskUnits(rng, risk, left)) push(unit)
  while (left > 0) {
    const { steps, hours } = pick(rng, rng.uniform() < ownShare ? own : common)
    push({ steps: steps.slice(0, left), hours: risk === 1 && rng.uniform() < 0.12 ? 'night' : hours, freshDay: false })
  }
  return rng.shuffle(units)
}

/** Risky users: the takeover as it is. Honest ones, less often: the same events in another order, hours apart. */
function riskUnits(rng: Philox, risk: number, events: number): Unit[] {
  if (events < takeover.length + 1) return []
  if (risk === 1) {
    return Array.from({ length: 1 + rng.poisson(events / 40) }, () => {
      return { steps: takeover, hours: 'any', freshDay: false } as const
    })
  }
  if (rng.uniform() < 0.45) return []
  return Array.from({ length: 1 + rng.poisson(events / 70) }, () => {
    let steps = [...takeover]
    do steps = rng.shuffle(steps)
    while (steps.indexOf(takeover[3]) > steps.indexOf(takeover[0]))
    return { steps: steps.map(step => ({ ...step, after: 14_000 })), hours: 'day', freshDay: false } as const
  })
}

/**
 * Puts the pairs between the units, each between two neutral events, all four on days of their own at hours of one
 * law: neither gaps nor hours depend on which event of the pair comes first. A single top-up and a single transfer, in
 * random order, stand before all pairs and after them: first and last occurrences say nothing either.
 */
function placePairs(rng: Philox, units: Unit[], pairs: number): boolean {
  const neutral = common.filter(({ steps }) => steps.length === 1 && !pair.some(step => step.event === steps[0].event))
  const alone = (step: Step): Unit => ({ steps: [step], hours: 'day', freshDay: true })
  const ends = () => rng.shuffle([alone(pair[0]), alone(pair[1])])
  if (units.length < 2) return false
  const middle = units.splice(1, units.length - 2)
  const gaps = rng.shuffle(Array.from({ length: middle.length + 1 }, (_, i) => i))
  const byGap = new Int32Array(gaps.length)
  for (let p = 0; p < pairs; p++) byGap[gaps[p % gaps.length]]++
  const placed: Unit[] = [units[0], ...ends()]
  for (let i = 0; i <= middle.length; i++) {
    for (let p = 0; p < byGap[i]; p++) {
      const around = () => alone(pick(rng, neutral).steps[0])
      placed.push(around(), { steps: pair, hours: 'day', freshDay: true }, around())
    }
    if (i < middle.length) placed.push(middle[i])
  }
  placed.push(...ends(), units[1])
  units.splice(0, units.length, ...placed)
  return true
}

function placeInTime(rng: Philox, units: readonly Unit[], typePace: number, topupFirst: boolean) {
  const pace = Math.max(typePace * Math.exp(0.4 * rng.normal()), units.length / 150)
  let now = firstDay + Math.floor(rng.uniform() * 40 * dayMs)
  const events: { time: number; content: Content }[] = []
  const add = (content: Content) => events.push({ time: Math.floor(now / 1000) * 1000, content })
  const toFreshDay = (hours: HourProfile) => {
    now = (Math.floor(now / dayMs) + 1 + (rng.uniform() < 0.3 ? 1 : 0)) * dayMs + timeOfDay(rng, hours)
  }
  for (const { steps, hours, freshDay } of units) {
    if (steps === pair) {
      const contents = pair.map(step => drawContent(rng, step))
      for (const content of topupFirst ? contents : contents.reverse()) {
        toFreshDay(hours)
        add(content)
      }
      continue
    }
    if (freshDay) toFreshDay(hours)
    else now = nextTime(rng, now, pace, hours)
    for (const step of steps) {
      if (step.after) now += 1000 * Math.max(5, step.after * rng.exponential())
      add(drawContent(rng, step))
    }
  }
  return events
}

/** After an exponential gap, at an hour of the profile, never before `now`. */
function nextTime(rng: Philox, now: number, pace: number, hours: HourProfile): number {
  const later = now + (rng.exponential() * dayMs) / pace
  const day = Math.floor(later / dayMs) * dayMs
  for (let attempt = 0; attempt < 4; attempt++) {
    const time = day + timeOfDay(rng, hours)
    if (time > now) return time
  }
  return later
}

function timeOfDay(rng: Philox, hours: HourProfile): number {
  return (rng.choice(hourProfiles[hours]) + rng.uniform()) * 3_600_000
}

function drawContent(rng: Philox, step: Step): Content {
  const channel = rng.uniform() < 0.01 ? null : step.channel[rng.below(step.channel.length)]
  const amount = step.amount
    ? Math.max(0.01, Math.round(100 * step.amount[0] * Math.exp(step.amount[1] * rng.normal())) / 100)
    : Number.NaN
  const note = step.notes && rng.uniform() < 0.5 ? step.notes[rng.below(step.notes.length)] : null
  return { event: step.event, channel, category: step.category ?? null, amount, note }
}

function pick(rng: Philox, episodes: readonly Episode[]): Episode {
  return episodes[rng.choice(episodes.map(episode => episode.weight))]
}
