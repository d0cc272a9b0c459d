// Progress of one training among others of the same call: what is left counts them all.

import type { FinetuneOptions } from './options.js'

type OnProgress = NonNullable<FinetuneOptions['onProgress']>

/**
 * Made when the run begins. The runs that follow are taken to be as long as this one.
 * @param place  of the run, from 0
 * @param runs   of the call, this one included
 * @param extra  what each report says beside its own
 */
export function amongRuns(
  onProgress: OnProgress | undefined,
  place: number,
  runs: number,
  extra: { readonly fold?: number; readonly folds?: number } = {},
): OnProgress | undefined {
  if (!onProgress) return undefined
  const begun = performance.now()
  return progress => {
    if (!('secondsLeft' in progress)) return onProgress(progress)
    const own = progress.secondsLeft
    const whole = (performance.now() - begun) / 1000 + own
    onProgress({ ...progress, ...extra, secondsLeft: own + (runs - place - 1) * whole })
  }
}
