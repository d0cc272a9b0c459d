// Reading protocol buffers back, for tests of what writes them.

/** Values of each field, in order: numbers as bigint, everything else as bytes. */
export type Proto = ReadonlyMap<number, readonly (bigint | Uint8Array)[]>

/** @throws when the bytes are no protocol buffer */
export function parseProto(bytes: Uint8Array): Proto {
  const fields = new Map<number, (bigint | Uint8Array)[]>()
  let at = 0
  const varint = () => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      if (at >= bytes.length) throw new Error('a number runs past the end')
      const byte = bytes[at++]
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return value
    }
  }
  const take = (length: number) => {
    if (at + length > bytes.length) throw new Error('a field runs past the end')
    at += length
    return bytes.subarray(at - length, at)
  }
  while (at < bytes.length) {
    const key = Number(varint())
    const wire = key & 7
    if (wire !== 0 && wire !== 2 && wire !== 5) throw new Error(`wire type ${wire}`)
    const value = wire === 0 ? varint() : take(wire === 5 ? 4 : Number(varint()))
    const known = fields.get(key >> 3) ?? []
    fields.set(key >> 3, [...known, value])
  }
  return fields
}

/** The one value of a field that holds bytes. */
export function field(message: Proto, number: number): Uint8Array {
  const values = message.get(number)
  if (values?.length !== 1 || !(values[0] instanceof Uint8Array)) throw new Error(`field ${number} does not stand once`)
  return values[0]
}

export function messages(message: Proto, number: number): Proto[] {
  return (message.get(number) ?? []).map(value => parseProto(value as Uint8Array))
}

export function texts(message: Proto, number: number): string[] {
  return (message.get(number) ?? []).map(value => Buffer.from(value as Uint8Array).toString())
}
