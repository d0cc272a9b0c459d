// Numbers by text, in many small maps: one large Map grows in jumps that hold the JavaScript thread for tens of milliseconds.

const MAPS = 256

export class TextIndex {
  readonly #maps = Array.from({ length: MAPS }, () => new Map<string, number>())

  get(text: string): number | undefined {
    return this.#mapOf(text).get(text)
  }

  set(text: string, value: number): void {
    this.#mapOf(text).set(text, value)
  }

  /** By all characters: names may count up at their ends, or end alike as addresses do. */
  #mapOf(text: string): Map<string, number> {
    let hash = 0
    for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0
    return this.#maps[(hash ^ (hash >>> 15)) & (MAPS - 1)]
  }
}
