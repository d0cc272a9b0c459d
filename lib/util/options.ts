// Options as callers give them: one that is undefined is as good as one that is missing.

/** Every property may be missing or undefined. */
export type Optional<T> = { readonly [K in keyof T]?: T[K] | undefined }

/** The options that say something. Laid over defaults, undefined ones would hide them. */
export function given<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}
