// What a command tells people beside its result, on stderr. A failure is one line `seqrisk: …`, so a warning says that it is none.

export function warn(message: string): void {
  process.stderr.write(`seqrisk: warning: ${message}\n`)
}
