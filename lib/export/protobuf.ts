// Writing protocol buffers: fields of messages as bytes (https://protobuf.dev/programming-guides/encoding/).

const VARINT = 0
const BYTES = 2
const FIXED32 = 5

/** One message. Fields stand in the order in which they are written. */
export class ProtoMessage {
  readonly #parts: Uint8Array[] = []
  #size = 0

  get size(): number {
    return this.#size
  }

  /** int32, int64, bool, enum. */
  integer(field: number, value: number): this {
    return this.#push(varint(key(field, VARINT)), varint(value))
  }

  float(field: number, value: number): this {
    const bytes = Buffer.alloc(4)
    bytes.writeFloatLE(value)
    return this.#push(varint(key(field, FIXED32)), bytes)
  }

  text(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value))
  }

  /** The bytes are not copied before `finish`. */
  bytes(field: number, value: Uint8Array): this {
    return this.#push(varint(key(field, BYTES)), varint(value.length), value)
  }

  message(field: number, value: ProtoMessage): this {
    this.#push(varint(key(field, BYTES)), varint(value.#size))
    return this.#push(...value.#parts)
  }

  /** Several integers in one field. */
  packed(field: number, values: readonly number[]): this {
    return this.bytes(field, Buffer.concat(values.map(varint)))
  }

  finish(): Uint8Array {
    const bytes = new Uint8Array(this.#size)
    let at = 0
    for (const part of this.#parts) {
      bytes.set(part, at)
      at += part.length
    }
    return bytes
  }

  #push(...parts: readonly Uint8Array[]): this {
    for (const part of parts) {
      this.#parts.push(part)
      this.#size += part.length
    }
    return this
  }
}

function key(field: number, wire: number): number {
  return field * 8 + wire
}

/** Seven bits a byte, the lowest first; negative numbers as 64 bits of two's complement. */
function varint(value: number): Uint8Array {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128)
    rest >>= 7n
  }
  bytes.push(Number(rest))
  return Uint8Array.from(bytes)
}
