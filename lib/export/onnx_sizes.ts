// Sizes inside an ONNX graph: numbers where they are fixed, else int64 values of one element that the graph computes.

import type { OnnxGraph, Value } from './onnx_graph.js'

export type Size = number | Value

export class Sizes {
  readonly #graph: OnnxGraph

  constructor(graph: OnnxGraph) {
    this.#graph = graph
  }

  /** As a value of shape (1). */
  value(size: Size): Value {
    return typeof size === 'number' ? this.#graph.integers([size]) : size
  }

  /** A list of sizes, for shapes and pads. */
  list(sizes: readonly Size[]): Value {
    if (sizes.every(size => typeof size === 'number')) return this.#graph.integers(sizes as number[])
    return this.#graph.node(
      'Concat',
      sizes.map(size => this.value(size)),
      { axis: 0 },
    )
  }

  /** The size of one axis of a value. */
  of(value: Value, axis: number): Size {
    return this.#graph.node('Shape', [value], { start: axis, end: axis + 1 })
  }

  add(a: Size, b: Size): Size {
    return typeof a === 'number' && typeof b === 'number' ? a + b : this.#binary('Add', a, b)
  }

  subtract(a: Size, b: Size): Size {
    return typeof a === 'number' && typeof b === 'number' ? a - b : this.#binary('Sub', a, b)
  }

  smaller(a: Size, b: Size): Size {
    return typeof a === 'number' && typeof b === 'number' ? Math.min(a, b) : this.#binary('Min', a, b)
  }

  /** What is missing from `a` to a multiple of `step`. */
  missing(a: Size, step: Size): Size {
    if (typeof a === 'number' && typeof step === 'number') return (step - (a % step)) % step
    // The result has the sign of the divisor.
    return this.#binary('Mod', this.subtract(0, a), step)
  }

  /** `yes` where a ≤ b, else `no`. */
  whereAtMost(a: Size, b: Size, yes: Size, no: Size): Size {
    if (typeof a === 'number' && typeof b === 'number') return a <= b ? yes : no
    const condition = this.#graph.node('LessOrEqual', [this.value(a), this.value(b)])
    return this.#graph.node('Where', [condition, this.value(yes), this.value(no)])
  }

  #binary(op: string, a: Size, b: Size): Size {
    return this.#graph.node(op, [this.value(a), this.value(b)])
  }
}
