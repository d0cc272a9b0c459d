// The head of a fine-tuned model as ONNX nodes, on vectors (users, width).

import { type Goal, scoresOf } from '../transfer/finetune/goal.js'
import type { Value } from './onnx_graph.js'
import { type LayerContext, linear } from './onnx_layers.js'

/** (users, width) to (users, scores): probabilities, or the value in units of the label. */
export function headScores(c: LayerContext, vectors: Value, goal: Goal): { scores: Value; width: number } {
  const { graph } = c
  const column = (name: string) => {
    const { values } = c.weights(name)
    return graph.floats(name, [values.length], values)
  }
  const scaled = graph.node('Mul', [vectors, column('head.scale')])
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
