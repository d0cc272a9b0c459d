// What users of the invented payment app do: short episodes of events, and how each type of user mixes them.

/** One event of an episode; absent parts stay empty in the data. */
export interface Step {
  readonly event: string
  readonly channel: readonly string[]
  readonly category?: string
  /** Median and log-deviation of a log-normal amount. */
  readonly amount?: readonly [median: number, sigma: number]
  readonly notes?: readonly string[]
  /** Mean seconds since the step before (exponential); the first step of an episode has none. */
  readonly after?: number
}

export interface Episode {
  readonly weight: number
  readonly hours: HourProfile
  readonly steps: readonly Step[]
}

export interface UserType {
  readonly name: string
  /** Share of all users. */
  readonly share: number
  /** Share of risky users within the type. */
  readonly risk: number
  /** Episodes a day, median over the users of the type. */
  readonly pace: number
  readonly episodes: readonly Episode[]
}

export type HourProfile = 'day' | 'work' | 'evening' | 'night' | 'any'

/** Weight of each hour of the day, 0 … 23. */
export const hourProfiles: Record<HourProfile, readonly number[]> = {
  day: [1, 0, 0, 0, 0, 1, 3, 6, 9, 9, 9, 10, 12, 11, 9, 9, 9, 10, 11, 10, 8, 6, 4, 2],
  work: [0, 0, 0, 0, 0, 0, 1, 4, 10, 14, 14, 13, 9, 11, 13, 13, 12, 9, 5, 2, 1, 0, 0, 0],
  evening: [3, 1, 0, 0, 0, 0, 0, 1, 2, 2, 3, 4, 6, 5, 4, 5, 6, 9, 13, 15, 14, 12, 9, 6],
  night: [14, 15, 14, 11, 7, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 9, 12],
  any: Array(24).fill(1),
}

const phone = ['app']
const mixed = ['app', 'app', 'web']
const counter = ['card', 'card', 'qr']

function buy(category: string, median: number, sigma: number, channel: readonly string[] = counter): Step {
  return { event: 'purchase', channel, category, amount: [median, sigma] }
}

function login(after?: number): Step {
  return { event: 'login', channel: mixed, after }
}

function episode(weight: number, hours: HourProfile, ...steps: Step[]): Episode {
  return { weight, hours, steps }
}

/** What everybody does now and then; keeps the types from being told apart by a single event. */
export const common: readonly Episode[] = [
  episode(3, 'day', login()),
  episode(3, 'day', buy('groceries', 22, 0.7)),
  episode(2, 'evening', buy('restaurants', 18, 0.6)),
  episode(2, 'any', { event: 'view_offers', channel: phone }),
  episode(1, 'day', buy('transport', 4, 0.5)),
  episode(1, 'day', { event: 'bill', channel: mixed, category: 'utilities', amount: [60, 0.5] }),
  episode(1, 'any', { event: 'login_failed', channel: mixed }, login(40)),
  episode(1, 'day', { event: 'refund', channel: ['card', 'web'], category: 'fashion', amount: [35, 0.7] }),
  episode(0.6, 'any', { event: 'transfer', channel: phone, amount: [40, 0.9], notes: ['thanks', 'dinner', 'gift'] }),
  episode(0.6, 'any', { event: 'topup', channel: mixed, amount: [40, 0.9] }),
]

export const userTypes: readonly UserType[] = [
  {
    name: 'salaried',
    share: 0.3,
    risk: 0.02,
    pace: 1.4,
    episodes: [
      episode(2, 'work', {
        event: 'receive',
        channel: ['bank'],
        amount: [2600, 0.35],
        notes: ['salary', 'monthly salary', 'wages'],
      }),
      episode(6, 'work', buy('transport', 3, 0.3), buy('restaurants', 9, 0.4)),
      episode(5, 'evening', buy('groceries', 38, 0.6)),
      episode(2, 'evening', { event: 'bill', channel: mixed, category: 'rent', amount: [850, 0.3], notes: ['rent'] }),
      episode(2, 'evening', login(), { event: 'invest', channel: phone, amount: [120, 0.8], after: 90 }),
    ],
  },
  {
    name: 'student',
    share: 0.24,
    risk: 0.03,
    pace: 1.8,
    episodes: [
      episode(2, 'day', {
        event: 'receive',
        channel: ['bank'],
        amount: [300, 0.5],
        notes: ['pocket money', 'from mum', 'grant'],
      }),
      episode(5, 'day', buy('transport', 2, 0.3), buy('coffee', 4, 0.3)),
      episode(4, 'evening', buy('restaurants', 11, 0.4), {
        event: 'request_money',
        channel: phone,
        amount: [6, 0.4],
        notes: ['pizza split', 'your half', 'drinks'],
        after: 1800,
      }),
      episode(3, 'evening', buy('games', 12, 0.8, ['app', 'web'])),
      episode(2, 'day', buy('books', 25, 0.6, ['web', 'card'])),
    ],
  },
  {
    name: 'shop_owner',
    share: 0.13,
    risk: 0.03,
    pace: 2.6,
    episodes: [
      episode(
        8,
        'work',
        { event: 'receive', channel: ['qr'], amount: [14, 0.8] },
        {
          event: 'receive',
          channel: ['qr'],
          amount: [14, 0.8],
          after: 900,
        },
      ),
      episode(3, 'work', {
        event: 'bill',
        channel: ['web', 'bank'],
        category: 'wholesale',
        amount: [420, 0.7],
        notes: ['invoice', 'supplier invoice', 'order paid'],
      }),
      episode(2, 'evening', { event: 'withdraw', channel: ['bank'], amount: [600, 0.6], notes: ['takings'] }),
      episode(1, 'day', { event: 'refund', channel: ['qr'], category: 'retail', amount: [14, 0.7] }),
    ],
  },
  {
    name: 'night_gambler',
    share: 0.11,
    risk: 0.16,
    pace: 1.2,
    episodes: [
      episode(
        6,
        'night',
        login(),
        buy('gambling', 20, 0.9, ['app', 'web']),
        { ...buy('gambling', 30, 1, ['app', 'web']), after: 240 },
        { ...buy('gambling', 45, 1.1, ['app', 'web']), after: 180 },
      ),
      episode(
        3,
        'night',
        { event: 'topup', channel: ['card'], amount: [60, 0.9] },
        {
          ...buy('gambling', 40, 1, ['app']),
          after: 120,
        },
      ),
      episode(1.5, 'night', {
        event: 'receive',
        channel: ['bank'],
        amount: [90, 1.4],
        notes: ['payout', 'winnings'],
      }),
      episode(2, 'night', buy('restaurants', 14, 0.5)),
    ],
  },
  {
    name: 'freelancer',
    share: 0.13,
    risk: 0.05,
    pace: 1.1,
    episodes: [
      episode(3, 'work', {
        event: 'receive',
        channel: ['bank', 'web'],
        amount: [700, 0.9],
        notes: ['project invoice', 'design work', 'translation job'],
      }),
      episode(4, 'work', buy('coffee', 5, 0.3), { ...buy('coffee', 5, 0.3), after: 7200 }),
      episode(3, 'work', buy('software', 25, 0.7, ['web'])),
      episode(2, 'evening', login(), { event: 'invest', channel: phone, amount: [200, 1], after: 200 }),
      episode(1, 'work', { event: 'bill', channel: mixed, category: 'tax', amount: [500, 0.6], notes: ['tax'] }),
    ],
  },
  {
    name: 'mule',
    share: 0.09,
    risk: 0.5,
    pace: 1.0,
    episodes: [
      episode(
        5,
        'any',
        { event: 'receive', channel: ['bank', 'app'], amount: [420, 0.9], notes: ['loan', 'order', 'thanks'] },
        { event: 'withdraw', channel: ['atm'], amount: [380, 0.9], after: 1500 },
      ),
      episode(
        3,
        'any',
        { event: 'receive', channel: ['app'], amount: [260, 0.9] },
        {
          event: 'gift_card',
          channel: ['web'],
          category: 'electronics',
          amount: [200, 0.7],
          after: 900,
        },
      ),
      episode(2, 'day', buy('groceries', 18, 0.6)),
      episode(2, 'evening', buy('restaurants', 12, 0.6)),
    ],
  },
]

/**
 * The four events of a taken-over account, in the order that gives it away. An honest user has the same four when a
 * phone is replaced: in any other order, and hours apart.
 */
export const takeover: readonly Step[] = [
  { event: 'password_change', channel: ['web', 'app'] },
  { event: 'card_add', channel: ['web', 'app'], after: 120 },
  { event: 'purchase', channel: ['web', 'app'], category: 'electronics', amount: [9, 0.8], after: 150 },
  { event: 'send_abroad', channel: ['app', 'web'], amount: [310, 0.9], notes: ['family', 'help', 'rent'], after: 200 },
]

/** The two events whose order inside a pair is the label `order`. Each draws its content whichever comes first. */
export const pair: readonly [topup: Step, transfer: Step] = [
  { event: 'topup', channel: mixed, amount: [50, 0.8] },
  { event: 'transfer', channel: mixed, amount: [50, 0.8], notes: ['thanks', 'as agreed', 'for yesterday'] },
]
