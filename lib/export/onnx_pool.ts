// The last part of an exported encoder: one vector per sequence out of those of its events; zeros for an empty one.

import type { PoolingKind } from '../encoder/config.js'
import type { Value } from './onnx_graph.js'
import type { LayerContext } from './onnx_layers.js'
import type { Size } from './onnx_sizes.js'

/** (users, length, width) to (users, width). `given`: length of the batch, where there is no input `lengths`. */
export function pool(c: LayerContext, mode: PoolingKind, x: Value, lengths: Value | null, given: Size): Value {
  const ends = lengths ?? c.graph.node('Cast', [c.sizes.value(given)], { to: 6 })
  if (mode === 'max') return max(c, x, ends)
  return mode === 'last' ? last(c, x, ends) : mean(c, x, ends)
}

/** A product with 1/length at real events and 0 at others. `ends`: (users or 1) int32. */
function mean(c: LayerContext, x: Value, ends: Value): Value {
  const { graph, real } = c
  if (!real) return graph.node('ReduceMean', [x], { axes: [1], keepdims: 0 })
  const count = graph.node('Cast', [graph.node('Max', [ends, graph.integers([1], [], 'int32')])], { to: 1 })
  const share = graph.node('Div', [graph.node('Cast', [real], { to: 1 }), unsqueeze(c, count, 1)])
  return graph.node('Squeeze', [graph.node('MatMul', [unsqueeze(c, share, 1), x]), graph.integers([1])])
}

function max(c: LayerContext, x: Value, ends: Value): Value {
  const { graph, real } = c
  const most = (values: Value) => graph.node('ReduceMax', [values], { axes: [1], keepdims: 0 })
  if (!real) return most(x)
  const kept = graph.node('Where', [unsqueeze(c, real, 2), x, graph.float(Number.NEGATIVE_INFINITY)])
  return graph.node('Where', [unsqueeze(c, isThere(c, ends), 1), most(kept), graph.float(0)])
}

function last(c: LayerContext, x: Value, ends: Value): Value {
  const { graph, sizes } = c
  const none = graph.integers([0], [], 'int32')
  const place = graph.node('Max', [graph.node('Sub', [ends, graph.integers([1], [], 'int32')]), none])
  const spread = graph.node('Expand', [graph.node('Cast', [place], { to: 7 }), sizes.value(c.users)])
  const rows = graph.node('GatherND', [x, unsqueeze(c, spread, 1)], { batch_dims: 1 })
  return graph.node('Where', [unsqueeze(c, isThere(c, ends), 1), rows, graph.float(0)])
}

function isThere(c: LayerContext, ends: Value): Value {
  return c.graph.node('Greater', [ends, c.graph.integers([0], [], 'int32')])
}

function unsqueeze(c: LayerContext, value: Value, axis: number): Value {
  return c.graph.node('Unsqueeze', [value, c.graph.integers([axis])])
}
