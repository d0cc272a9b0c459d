// Float64 reference of gated_separable_conv: its two parts, one after the other.

import { type GatedDwconvProblem, gatedDwconvBackward, gatedDwconvForward } from './gated_dwconv.js'
import { linearBackward, linearForward } from './linear.js'

export interface GatedSeparableConvProblem extends GatedDwconvProblem {
  readonly pointWeight: Float64Array
  readonly pointBias: Float64Array
  readonly residual: Float64Array
}

const sizesOf = (p: GatedSeparableConvProblem) => ({
  rows: p.x.length / p.channels,
  inFeatures: p.channels,
  outFeatures: p.pointBias.length,
})

export function gatedSeparableConvForward(p: GatedSeparableConvProblem): Float64Array {
  return linearForward(gatedDwconvForward(p), p.pointWeight, p.pointBias, p.residual, sizesOf(p), 'none')
}

export function gatedSeparableConvBackward(p: GatedSeparableConvProblem, dout: Float64Array) {
  const between = gatedDwconvForward(p)
  const product = linearBackward(between, p.pointWeight, p.pointBias, dout, sizesOf(p), 'none')
  return {
    ...gatedDwconvBackward(p, product.dx),
    dpointWeight: product.dweight,
    dpointBias: product.dbias,
    dresidual: product.dresidual,
  }
}
