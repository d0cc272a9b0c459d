// The public surface of the package.

export { type EncoderConfig, transformerConfig } from './encoder/config.js'
export { concatVectors, type EncodeOptions as EncodeCallOptions, Encoder } from './encoder/encoder.js'
export { loadEncoder, saveEncoder } from './encoder/model_files.js'
export * from './events/index.js'
export type { EpochRow, TermSummary } from './pretrain/log.js'
export type { PretrainOptions, ProxyTask, TrainProgress } from './pretrain/options.js'
export { type Pretrained, pretrain } from './pretrain/pretrain.js'
export { Device, type DeviceKind, type DeviceOptions, variants } from './runtime/device.js'
export { AdamW } from './runtime/optimizer.js'
export { Parameter, Tape } from './runtime/tape.js'
export { keep, Offsets, scope, Tensor, unscoped } from './runtime/tensor.js'
export { SeqriskError } from './util/errors.js'
