// The recurrent layer of an encoder as ONNX's GRU. It reads a sequence from its first event on, so that padding at the end
// reaches no real event.

import type { Value } from './onnx_graph.js'
import { type LayerContext, layerNorm, linear } from './onnx_layers.js'

/** Where ONNX's gates (z, r, n) stand among ours (r, z, n). */
const GATES = [1, 0, 2]

/** x + W·gru(norm(x)) + b. */
export function gatedRecurrence(c: LayerContext, name: string, x: Value): Value {
  const { graph, config } = c
  const { width } = config
  const inGates = (part: string, size: number) => {
    const { values } = c.weights(`${name}.${part}`)
    const gates = GATES.map(gate => values.subarray(gate * size, (gate + 1) * size))
    return Float32Array.from(gates.flatMap(gate => Array.from(gate)))
  }
  const weights = ['input', 'hidden'].map(part =>
    graph.floats(`${name}.${part}.gates`, [1, 3 * width, width], inGates(`${part}.weight`, width * width)),
  )
  const biases = ['input', 'hidden'].flatMap(part => Array.from(inGates(`${part}.bias`, width)))
  const bias = graph.floats(`${name}.gates.bias`, [1, 6 * width], Float32Array.from(biases))
  // Time first: (length, users, width), and a direction in what comes out.
  const events = graph.node('Transpose', [layerNorm(c, `${name}.norm`, x)], { perm: [1, 0, 2] })
  const out = graph.node('GRU', [events, ...weights, bias], { hidden_size: width, linear_before_reset: 1 })
  const h = graph.node('Transpose', [graph.node('Squeeze', [out, graph.integers([1])])], { perm: [1, 0, 2] })
  return graph.node('Add', [x, linear(c, `${name}.out`, h)])
}
