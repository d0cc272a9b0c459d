// Calls that share a device: one that is aborted leaves at once, and its work that is already on its way ends unseen. To
// cancel the device would take the work of all others with it.

/**
 * What `work` becomes, or a rejection with the signal's reason as soon as it is aborted: nobody waits any longer, and how the work ends
 * is nobody's concern.
 */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work
  let leave = () => {}
  const aborted = new Promise<never>((_, reject) => {
    leave = () => reject(signal.reason)
    if (signal.aborted) leave()
    else signal.addEventListener('abort', leave, { once: true })
  })
  try {
    return await Promise.race([aborted, work])
  } finally {
    signal.removeEventListener('abort', leave)
  }
}
