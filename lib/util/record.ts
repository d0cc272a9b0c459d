// Values by names that come from outside.

/** Without members of its own: a column named `constructor` or `__proto__` is one like all others, or missing. */
export function emptyRecord<T>(): Record<string, T> {
  return Object.create(null) as Record<string, T>
}
