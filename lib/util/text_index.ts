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

  /** By the last three characters, where names that count up differ. */
  #mapOf(text: string): Map<string, number> {
    const { length } = text
    const last = text.charCodeAt(length - 1) + 31 * text.charCodeAt(length - 2) + 961 * text.charCodeAt(length - 3)
    // Short texts give NaN, which & makes 0.
    return this.#maps[last & (MAPS - 1)]
  }
}
