// The public surface of the package.

export {
  type AttentionKind,
  type ConvolutionKind,
  type EncoderConfig,
  type GateKind,
  gruConfig,
  type PoolingKind,
  type RecurrenceKind,
  transformerConfig,
} from './encoder/config.js'
export {
  concatVectors,
  type EncodeOptions as EncoderCallOptions,
  Encoder,
  type EncoderOptions,
} from './encoder/encoder.js'
export { type LoadedEncoder, loadEncoder, type StoredHead, saveEncoder } from './encoder/model_files.js'
export * from './events/index.js'
export { type BinsOptions, loadBins, saveBins } from './export/bins.js'
export { fromLightgbm, loadLightgbm, saveLightgbm, toLightgbm } from './export/lightgbm.js'
export { exportEncoder, exportFinetuned, type OnnxOptions } from './export/onnx.js'
export { exportTrees, type OnnxTreesOptions } from './export/onnx_trees.js'
export type { StoredTensor } from './export/safetensors.js'
export type { EpochRow, TermSummary } from './pretrain/log.js'
export type { MaskedEventsOptions } from './pretrain/masked_events.js'
export type { PretrainOptions, ProxyTask, TrainProgress } from './pretrain/options.js'
export { type Pretrained, pretrain } from './pretrain/pretrain.js'
export type { QuickThoughtOptions } from './pretrain/quick_thought.js'
export {
  type ActiveOptions,
  type ActiveProgress,
  type ActiveResult,
  type Oracle,
  runActive,
  type SamplerOptions,
} from './pu/active.js'
export {
  type IsolationOptions,
  isolationPu,
  learnPu,
  type OnePuOptions,
  onePu,
  type PuMethod,
  type PuOutcome,
  type SupervisedOptions,
  supervisedPu,
} from './pu/baselines.js'
export type { LearnerKind, LearnerOptions, PuFit, PuLearner, PuTargets } from './pu/learner.js'
export { LITERAL as LITERAL_TWO_STEP, type PuProgress, type PuRound, type TwoStepOptions } from './pu/options.js'
export { type PuProblem, PuSets, type SetSizes } from './pu/problem.js'
export type { Sampler } from './pu/samplers.js'
export {
  ActiveSession,
  type Asked,
  type SessionControl,
  type SessionOptions,
  type SessionStatus,
} from './pu/session.js'
export type { SessionSettings } from './pu/session_files.js'
export { ActiveState, type Answer, type StateOptions } from './pu/state.js'
export type { RoundRecord, StopRules } from './pu/stop.js'
export { type PuTable, type PuTableOptions, readPuTable } from './pu/table.js'
export { type PuDiagnostics, type PuResult, type PuWarning, type SpyDraw, twoStepPu } from './pu/two_step.js'
export {
  type Band,
  type BandOptions,
  type BandReport,
  bandsOf,
  type Interval,
  labellingPlan,
  type PlannedBand,
  type PlanOptions,
  type Volume,
  type VolumeOptions,
  volumeAtEqualPrecision,
  wilson,
} from './report/bands.js'
export type { Spread } from './report/metrics.js'
export {
  type BinnedColumn,
  BinnedMatrix,
  type BinnedMatrixOptions,
  type NumberArray,
  type TableData,
} from './runtime/binned_matrix.js'
export {
  type CudaStatus,
  cudaStatus,
  Device,
  type DeviceKind,
  type DeviceOptions,
  type Precision,
  type StreamInfo,
  variants,
} from './runtime/device.js'
export { AdamW, type AdamWOptions } from './runtime/optimizer.js'
export { Parameter, Tape } from './runtime/tape.js'
export { keep, Offsets, scope, Tensor, unscoped } from './runtime/tensor.js'
export { type AggregateOptions, aggregate } from './transfer/aggregate.js'
export {
  type AggregatePlan,
  type PlanOptions as AggregatePlanOptions,
  planAggregates,
  type ValuePair,
} from './transfer/aggregate_plan.js'
export {
  type AnalogyOptions,
  analogies,
  analogy,
  analogyVectors,
  type Neighbour,
  type Question,
} from './transfer/analogy.js'
export { finetuneEncoded } from './transfer/finetune/finetune.js'
export { FineTuned, loadFinetuned, type ScoreOptions, type ScoreTable } from './transfer/finetune/finetuned.js'
export { type FoldQuality, type FoldsResult, finetuneFolds } from './transfer/finetune/folds.js'
export type { Goal, ScoreQuality } from './transfer/finetune/goal.js'
export type { Best, FinetuneRow } from './transfer/finetune/log.js'
export type { FinetuneOptions, FinetuneProgress, FinetuneTask, ScratchInit } from './transfer/finetune/options.js'
export {
  type FinetuneResult,
  type FinetuneSourceOptions,
  finetune,
  type LabelledEvents,
  readLabelled,
} from './transfer/finetune/source.js'
export { type MapMethod, type MapOptions, mapVectors, type VectorMap } from './transfer/map.js'
export { type NearestOptions, nearest, type Vectors } from './transfer/nearest.js'
export type { Metric, Neighbours } from './transfer/neighbours.js'
export {
  type ContributionOptions,
  type Contributions,
  contributions,
  type VectorScorer,
} from './transfer/occlusion.js'
export { loadAggregatePlan, saveAggregatePlan } from './transfer/plan_file.js'
export {
  type BudgetResult,
  type FeatureSet,
  type HeldScores,
  type Learner,
  type ProbeOptions,
  type ProbeProgress,
  type ProbeResult,
  probe,
  type SetResults,
} from './transfer/probe.js'
export { alignColumn, type LabelTable, pickLabel, type Table as EntityTable, vectorColumns } from './transfer/tables.js'
export { VectorIndex, type VectorIndexOptions } from './transfer/vector_index.js'
export {
  type CustomObjective,
  type FitInput,
  type GbrtFit,
  type GbrtOptions,
  GbrtTrainer,
  type Objective,
  type ValidationRows,
} from './trees/gbrt.js'
export { IsolationForest, type IsolationForestOptions } from './trees/isolation_forest.js'
export { type KMeansOptions, type KMeansResult, kmeans } from './trees/kmeans.js'
export {
  GbrtModel,
  type Levels,
  type ModelInfo,
  type ModelObjective,
  type PredictManyOptions,
  type PredictOptions,
  type Trees,
} from './trees/model.js'
export { type ForestInput, type RandomForestOptions, RandomForestTrainer } from './trees/random_forest.js'
export {
  columnsOfLayout,
  type LayoutOptions,
  layoutOfModel,
  readingOf,
  type TableColumns,
  type TableLayout,
  tableLayout,
} from './trees/table_input.js'
export { SeqriskError } from './util/errors.js'
export type { Optional } from './util/options.js'
