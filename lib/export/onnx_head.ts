// The head of a fine-tuned model as ONNX nodes, on vectors (users, width).

import { type Goal, scoresOf } from '../transfer/finetune/goal.js'
import type { Value } from './onnx_graph.js'
import { type LayerContext, linear } from './onnx_layers.js'

/**
 * (users, width) to (users, scores): probabilities, or the value in units of the label.
 * @param isBent  whether the head has curves
 */
export function headScores(
  c: LayerContext,
  vectors: Value,
  goal: Goal,
  isBent: boolean,
): { scores: Value; width: number } {
  const { graph } = c
  const column = (name: string) => {
    const { values } = c.weights(name)
    return graph.floats(name, [values.length], values)
  }
  const scaled = graph.node('Mul', [isBent ? bent(c, vectors) : vectors, column('head.scale')])
  const outputs = linear(c, 'head', graph.node('Add', [scaled, column('head.shift')]))
  const width = scoresOf(goal)
  if (goal.task === 'regression') {
    const own = graph.node('Mul', [outputs, graph.float(goal.deviation)])
    return { scores: graph.node('Add', [own, graph.float(goal.mean)]), width }
  }
  const all = graph.node('Softmax', [outputs], { axis: -1 })
  if (width > 1) return { scores: all, width }
  return { scores: graph.node('Gather', [all, graph.integers([1])], { axis: 1 }), width }
}

/** Each column through its curve: what it is outside of its knots, and the sum of a clipped ramp for each piece between them. */
function bent({ graph, weights }: LayerContext, x: Value): Value {
  const { shape, values } = weights('head.knots')
  const [count, width] = shape
  const slopes = weights('head.slopes').values
  const rows = (name: string, from: Float32Array, begin: number, end: number) =>
    graph.floats(name, end - begin === 1 ? [width] : [end - begin, width], from.slice(begin * width, end * width))
  const clamp = (value: Value, low: Value, high: Value) => graph.node('Min', [graph.node('Max', [value, low]), high])
  const first = rows('head.knots.first', values, 0, 1)
  const last = rows('head.knots.last', values, count - 1, count)
  const outside = graph.node('Sub', [x, clamp(x, first, last)])
  const below = graph.node('Mul', [
    graph.node('Min', [outside, graph.float(0)]),
    rows('head.slopes.below', slopes, 0, 1),
  ])
  const above = graph.node('Mul', [
    graph.node('Max', [outside, graph.float(0)]),
    rows('head.slopes.above', slopes, count, count + 1),
  ])
  const ends = graph.node('Sum', [graph.floats('head.offset', [width], weights('head.offset').values), below, above])
  if (count === 1) return ends
  // (users, pieces, width)
  const low = rows('head.knots.low', values, 0, count - 1)
  const high = rows('head.knots.high', values, 1, count)
  const ramps = graph.node('Sub', [clamp(graph.node('Unsqueeze', [x, graph.integers([1])]), low, high), low])
  const pieces = graph.node('Mul', [ramps, rows('head.slopes.between', slopes, 1, count)])
  return graph.node('Add', [ends, graph.node('ReduceSum', [pieces, graph.integers([1])], { keepdims: 0 })])
}
