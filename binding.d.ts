// The contract of the native module. A test compares these names with what the module exports.
// Handles are opaque; the native side checks their type, their stream, every shape and every overlap, and throws
// TypeError, RangeError or SeqriskError. Ops return at once: the work runs in order on the stream, and its first error
// is thrown by the next read.

declare const streamBrand: unique symbol
declare const tensorBrand: unique symbol
declare const offsetsBrand: unique symbol
declare const binnedBrand: unique symbol
declare const trainerBrand: unique symbol
declare const forestBrand: unique symbol
declare const iforestBrand: unique symbol
declare const kmeansBrand: unique symbol

export interface StreamHandle {
  readonly [streamBrand]: true
}
export interface TensorHandle {
  readonly [tensorBrand]: true
}
export interface OffsetsHandle {
  readonly [offsetsBrand]: true
}

export interface BinnedHandle {
  readonly [binnedBrand]: true
}
export interface TrainerHandle {
  readonly [trainerBrand]: true
}
export interface ForestHandle {
  readonly [forestBrand]: true
}
export interface IforestHandle {
  readonly [iforestBrand]: true
}
export interface KmeansHandle {
  readonly [kmeansBrand]: true
}

/** Arrays of numbers that columns, targets and weights may come in. */
export type NumberArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint8ClampedArray
  | Uint16Array
  | Uint32Array

/** How the values of a column become bins. */
export interface BinnedColumn {
  readonly isCategorical: boolean
  /** NaN has the bin behind the last one. */
  readonly hasNaN: boolean
  /** Without the one for NaN; of categories, bin 0 is the unknown. */
  readonly bins: number
  /** Upper bounds of the bins; of categories, their codes. */
  readonly bounds: Float64Array
  /** Of categories: the bin of each code. */
  readonly binOf: Uint8Array
}

/** Trees one after the other; numbers of nodes and leaves start at 0 in each tree, leaf l stands as −1 − l. */
export interface TrainedTrees {
  bestRound: number
  losses: Float64Array
  numLeaves: Int32Array
  splitFeature: Int32Array
  /** The bin, or which eight words of `categoryBins`. */
  thresholdBin: Int32Array
  /** 1 categorical, 2 missing values go left. */
  decision: Uint8Array
  leftChild: Int32Array
  rightChild: Int32Array
  splitGain: Float64Array
  internalValue: Float64Array
  internalWeight: Float64Array
  internalCount: Float64Array
  leafValue: Float64Array
  leafWeight: Float64Array
  leafCount: Float64Array
  categoryBins: Uint32Array
}

/** `bfloat16`: activations on a card of that precision; read and written as float32. */
export type DType = 'float32' | 'int32' | 'bfloat16'

/** What a device is, and what it holds. */
export interface StreamInfo {
  device: 'cpu' | 'cuda'
  variant: string
  threads: number
  liveBytes: number
  cachedBytes: number
  peakBytes: number
  allocations: number
  /** CUDA graphs so far: launches that were handed to the card in one call. */
  graphs: number
}

/** Whether cards can be used. */
export interface CudaStatus {
  devices: {
    name: string
    /** 9.0 for the architecture `sm_90`. */
    capability: number
    multiprocessors: number
    memoryBytes: number
  }[]
  /** Why there are none, or ''. */
  missing: string
}

export type EmbeddingFieldPart = number | boolean | TensorHandle | OffsetsHandle | null

export interface Binding {
  set_error_class(errorClass: new (code: string, message: string) => Error): void
  /** Kernel variants that this processor supports, best first. */
  variants(): string[]

  /**
   * `variant` '' = $SEQRISK_VARIANT or the best; `bfloat16`: operands of `linear` are rounded; `memoryLimit` 0 = none; `guard`
   * checks for writes outside buffers.
   */
  stream_open(threads: number, variant: string, bfloat16: boolean, memoryLimit: number, guard: boolean): StreamHandle
  /**
   * `bfloat16`: operands of matrix products are rounded, tensors may be stored so; `cublaslt`: the library that multiplies
   * them, '' = own kernels; `memoryLimit` 0 = none; `graphs`: launches that wait are handed over together.
   */
  cuda_open(
    index: number,
    bfloat16: boolean,
    cublaslt: string,
    memoryLimit: number,
    guard: boolean,
    graphs: boolean,
  ): StreamHandle
  cuda_status(): CudaStatus
  /** Fault injection: a kernel fails on the card, and this process cannot use it any more. */
  cuda_lose(index: number): void
  stream_close(stream: StreamHandle): void
  /** Skips what was submitted so far; pending reads reject with code ABORTED. */
  stream_cancel(stream: StreamHandle): void
  stream_sync(stream: StreamHandle): Promise<void>
  stream_info(stream: StreamHandle): StreamInfo
  /** Fault injection: the n-th allocation from now on fails; 0 switches it off. */
  stream_fail_allocation(stream: StreamHandle, after: number): void

  tensor_create(stream: StreamHandle, dtype: DType, shape: readonly number[]): TensorHandle
  tensor_view(base: TensorHandle, start: number, shape: readonly number[]): TensorHandle
  tensor_write(tensor: TensorHandle, values: Float32Array | Int32Array): void
  tensor_fill(tensor: TensorHandle, value: number): void
  tensor_copy(to: TensorHandle, from: TensorHandle): void
  tensor_read(tensor: TensorHandle): Promise<Float32Array | Int32Array>
  tensor_dispose(tensor: TensorHandle): void

  offsets_create(stream: StreamHandle, offsets: Int32Array): OffsetsHandle
  offsets_dispose(offsets: OffsetsHandle): void

  binned_create(
    stream: StreamHandle,
    features: number,
    maxBin: number,
    minDataInBin: number,
    categorical: Uint8Array,
  ): BinnedHandle
  /** Adds values[first + rows[i]·stride] to the sample of a column, or those of rows 0 … count − 1. */
  binned_sample(
    matrix: BinnedHandle,
    column: number,
    values: NumberArray,
    first: number,
    stride: number,
    count: number,
    rows: Int32Array | null,
  ): void
  /** Learns bins from the samples and frees them. */
  binned_learn(matrix: BinnedHandle): Promise<unknown>
  /** An empty matrix with the same bins. */
  binned_like(matrix: BinnedHandle): BinnedHandle
  binned_reserve(matrix: BinnedHandle, rows: number): void
  /** Copies rows [start, start + count) of a row-major array or of columns, and bins them as rows from `row` on. */
  binned_append(
    matrix: BinnedHandle,
    row: number,
    values: NumberArray | readonly NumberArray[],
    start: number,
    count: number,
  ): Promise<unknown>
  binned_columns(matrix: BinnedHandle): BinnedColumn[]
  /** The bins as they are kept: groups of up to 16 features one after the other, row by row in each. */
  binned_read(matrix: BinnedHandle, start: number, count: number): Promise<Uint8Array<ArrayBuffer>>
  /**
   * A matrix with the bins of a saved one, without rows. Flags and numbers of bounds for each column, then the bounds of
   * all and the bins of all categories, one after the other.
   */
  binned_restore(
    stream: StreamHandle,
    categorical: Uint8Array,
    hasNaN: Uint8Array,
    counts: Int32Array,
    bounds: Float64Array,
    binOf: Uint8Array,
  ): BinnedHandle
  /** Copies bins as they are kept, from byte `start` on. */
  binned_put(matrix: BinnedHandle, start: number, bins: Uint8Array): Promise<unknown>
  /** Refuses bins that a column does not have. */
  binned_check(matrix: BinnedHandle): Promise<unknown>
  binned_dispose(matrix: BinnedHandle): void

  /** `packed` (rows, 2) and `out` (features, 2, 256, 2): 64-bit integers as int32 halves, low first. */
  gbrt_histogram(
    stream: StreamHandle,
    matrix: BinnedHandle,
    packed: TensorHandle,
    rowIndex: TensorHandle | null | undefined,
    shift: number,
    mostWeight: number,
    out: TensorHandle,
  ): void

  /** `options` as lib/ops/gbrt_trainer.ts lists them. `monotone`, for each feature: 0 none, 1 rises, 2 falls. */
  gbrt_trainer_create(matrix: BinnedHandle, options: readonly number[], monotone: Uint8Array | null): TrainerHandle
  /**
   * `roles`: 0 unused, 1 trains, 2 validates. `scores`: (classes, rows) to start from. `firstRound`: rounds of the fit
   * that this one goes on from.
   */
  gbrt_trainer_begin(
    trainer: TrainerHandle,
    targets: NumberArray | null,
    weights: NumberArray | null,
    roles: Uint8Array | null,
    scores: Float64Array | null,
    firstRound: number,
  ): Promise<unknown>
  /** After begin: the loss is that of these rows, of the same bins. `scores`: (classes, rows) to start from. */
  gbrt_trainer_watch(
    trainer: TrainerHandle,
    matrix: BinnedHandle,
    targets: NumberArray,
    weights: NumberArray | null,
    scores: Float64Array | null,
  ): Promise<unknown>
  /** `rates`: the learning rate of each round. */
  gbrt_trainer_boost(
    trainer: TrainerHandle,
    rounds: number,
    patience: number,
    rates: Float64Array | null,
    gradients: Float32Array | null,
    hessians: Float32Array | null,
  ): Promise<unknown>
  gbrt_trainer_stop(trainer: TrainerHandle): void
  gbrt_trainer_rounds(trainer: TrainerHandle): number
  gbrt_trainer_model(trainer: TrainerHandle): TrainedTrees
  gbrt_trainer_scores(trainer: TrainerHandle): Promise<Float64Array<ArrayBuffer>>
  gbrt_trainer_dispose(trainer: TrainerHandle): void

  /** Checks the trees: children come after their parent, features and category lists exist. */
  forest_create(
    features: number,
    classes: number,
    sigmoid: number,
    numLeaves: Int32Array,
    splitFeature: Int32Array,
    threshold: Float64Array,
    decision: Uint8Array,
    leftChild: Int32Array,
    rightChild: Int32Array,
    leafValue: Float64Array,
    categoryStart: Int32Array,
    categoryWords: Int32Array,
  ): ForestHandle
  /** `transform`: 0 none, 1 sigmoid, 2 softmax, 3 average. Copies the rows before it returns. */
  forest_predict(
    stream: StreamHandle,
    forest: ForestHandle,
    values: NumberArray | readonly NumberArray[],
    start: number,
    count: number,
    transform: number,
    trees: number,
  ): Promise<Float64Array<ArrayBuffer>>
  /** Each bin counts as its upper bound, or its category: right for models whose thresholds are bounds of the matrix. */
  forest_predict_binned(
    stream: StreamHandle,
    forest: ForestHandle,
    matrix: BinnedHandle,
    start: number,
    count: number,
    transform: number,
    trees: number,
  ): Promise<Float64Array<ArrayBuffer>>
  /** `nodeRows` and `leafRows`: rows of training in every node and leaf. Returns (count, classes, features + 1). */
  forest_shap(
    stream: StreamHandle,
    forest: ForestHandle,
    values: NumberArray | readonly NumberArray[],
    start: number,
    count: number,
    trees: number,
    factor: number,
    nodeRows: Float64Array,
    leafRows: Float64Array,
  ): Promise<Float64Array<ArrayBuffer>>
  forest_predict_row(
    forest: ForestHandle,
    values: Float32Array | Float64Array,
    out: Float64Array,
    transform: number,
    trees: number,
  ): void

  /** `samples` rows for each tree; cuts look at `extension` features besides one. */
  iforest_create(
    stream: StreamHandle,
    features: number,
    trees: number,
    samples: number,
    extension: number,
    seed: number,
  ): IforestHandle
  /** Trees `tree` to `tree + count − 1`, each from rows that it draws. Copies them before it returns. */
  iforest_grow(
    forest: IforestHandle,
    tree: number,
    count: number,
    values: NumberArray | readonly NumberArray[],
    rows: number,
  ): Promise<unknown>
  /** Copies the rows before it returns. */
  iforest_score(
    forest: IforestHandle,
    values: NumberArray | readonly NumberArray[],
    start: number,
    count: number,
  ): Promise<Float64Array<ArrayBuffer>>

  kmeans_create(
    stream: StreamHandle,
    rows: number,
    features: number,
    clusters: number,
    tolerance: number,
    seed: number,
  ): KmeansHandle
  /** The next rows. Copies them before it returns. */
  kmeans_append(
    problem: KmeansHandle,
    values: NumberArray | readonly NumberArray[],
    start: number,
    count: number,
  ): Promise<unknown>
  /** From centres, (clusters, features), or from seeds. Refuses values that are not finite, later. */
  kmeans_begin(problem: KmeansHandle, centers: Float32Array | null): Promise<unknown>
  /** Gives iterations so far, rows that changed their cluster, Σ of squared steps of the centres, 1 when done. */
  kmeans_step(problem: KmeansHandle, iterations: number): Promise<Float64Array<ArrayBuffer>>
  kmeans_finish(problem: KmeansHandle): Promise<{
    centers: Float32Array<ArrayBuffer>
    assigned: Int32Array<ArrayBuffer>
    inertia: Float64Array<ArrayBuffer>
  }>
  kmeans_dispose(problem: KmeansHandle): void

  block_attention_forward(
    stream: StreamHandle,
    qkv: TensorHandle,
    offsets: OffsetsHandle,
    heads: number,
    block: number,
    shift: boolean,
    out: TensorHandle,
    lse: TensorHandle | null | undefined,
  ): void
  block_attention_backward(
    stream: StreamHandle,
    qkv: TensorHandle,
    offsets: OffsetsHandle,
    heads: number,
    block: number,
    shift: boolean,
    out: TensorHandle,
    lse: TensorHandle,
    dout: TensorHandle,
    dqkv: TensorHandle,
    accumulateDqkv: boolean,
  ): void
  fixed_attention_write_forward(
    stream: StreamHandle,
    queries: TensorHandle,
    kv: TensorHandle,
    offsets: OffsetsHandle,
    heads: number,
    memory: TensorHandle,
    lse: TensorHandle | null | undefined,
  ): void
  fixed_attention_write_backward(
    stream: StreamHandle,
    queries: TensorHandle,
    kv: TensorHandle,
    offsets: OffsetsHandle,
    heads: number,
    memory: TensorHandle,
    lse: TensorHandle,
    dmemory: TensorHandle,
    dqueries: TensorHandle | null | undefined,
    dkv: TensorHandle | null | undefined,
    accumulateDkv: boolean,
  ): void
  fixed_attention_read_forward(
    stream: StreamHandle,
    q: TensorHandle,
    kv: TensorHandle,
    offsets: OffsetsHandle,
    heads: number,
    slots: number,
    out: TensorHandle,
    lse: TensorHandle | null | undefined,
  ): void
  fixed_attention_read_backward(
    stream: StreamHandle,
    q: TensorHandle,
    kv: TensorHandle,
    offsets: OffsetsHandle,
    heads: number,
    slots: number,
    out: TensorHandle,
    lse: TensorHandle,
    dout: TensorHandle,
    dq: TensorHandle | null | undefined,
    accumulateDq: boolean,
    dkv: TensorHandle | null | undefined,
    accumulateDkv: boolean,
  ): void
  full_attention_forward(
    stream: StreamHandle,
    qkv: TensorHandle,
    offsets: OffsetsHandle,
    heads: number,
    out: TensorHandle,
    lse: TensorHandle | null | undefined,
  ): void
  full_attention_backward(
    stream: StreamHandle,
    qkv: TensorHandle,
    offsets: OffsetsHandle,
    heads: number,
    out: TensorHandle,
    lse: TensorHandle,
    dout: TensorHandle,
    dqkv: TensorHandle,
    accumulateDqkv: boolean,
  ): void
  gated_dwconv_forward(
    stream: StreamHandle,
    x: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle,
    gateWeight: TensorHandle | null | undefined,
    gateBias: TensorHandle | null | undefined,
    offsets: OffsetsHandle,
    dilation: number,
    causal: boolean,
    out: TensorHandle,
  ): void
  gated_dwconv_backward(
    stream: StreamHandle,
    x: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle,
    gateWeight: TensorHandle | null | undefined,
    gateBias: TensorHandle | null | undefined,
    offsets: OffsetsHandle,
    dilation: number,
    causal: boolean,
    dout: TensorHandle,
    dx: TensorHandle | null | undefined,
    accumulateDx: boolean,
    dweight: TensorHandle,
    dbias: TensorHandle,
    dgateWeight: TensorHandle | null | undefined,
    dgateBias: TensorHandle | null | undefined,
  ): void
  gated_separable_conv_forward(
    stream: StreamHandle,
    x: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle,
    gateWeight: TensorHandle | null | undefined,
    gateBias: TensorHandle | null | undefined,
    offsets: OffsetsHandle,
    dilation: number,
    causal: boolean,
    between: TensorHandle,
    keepsBetween: boolean,
    pointWeight: TensorHandle,
    packed: TensorHandle | null | undefined,
    pointBias: TensorHandle | null | undefined,
    residual: TensorHandle,
    out: TensorHandle,
  ): void
  glu_forward(stream: StreamHandle, out: TensorHandle, x: TensorHandle): void
  glu_backward(stream: StreamHandle, dout: TensorHandle, x: TensorHandle, dx: TensorHandle, accumulateDx: boolean): void

  gru_forward(
    stream: StreamHandle,
    out: TensorHandle,
    x: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle,
    offsets: OffsetsHandle,
    gates: TensorHandle | null | undefined,
  ): void
  gru_backward(
    stream: StreamHandle,
    out: TensorHandle,
    weight: TensorHandle,
    offsets: OffsetsHandle,
    gates: TensorHandle,
    dout: TensorHandle,
    dx: TensorHandle,
    accumulateDx: boolean,
    dhidden: TensorHandle,
    previous: TensorHandle,
  ): void

  unfold_forward(
    stream: StreamHandle,
    x: TensorHandle,
    offsets: OffsetsHandle,
    width: number,
    dilation: number,
    causal: boolean,
    out: TensorHandle,
  ): void
  unfold_backward(
    stream: StreamHandle,
    dx: TensorHandle,
    offsets: OffsetsHandle,
    width: number,
    dilation: number,
    causal: boolean,
    dout: TensorHandle,
    accumulateDx: boolean,
  ): void

  machine_peak(
    stream: StreamHandle,
    tasks: number,
    rounds: number,
    sums: TensorHandle,
    multiplyAdds: TensorHandle,
  ): void
  machine_copy(stream: StreamHandle, x: TensorHandle, out: TensorHandle): void
  machine_update(stream: StreamHandle, tasks: number, rounds: number, sums: TensorHandle): void

  /** Blocks first, first + 1, … of a Philox stream into `out`, at once: four words each. */
  philox_blocks(seed: number, philoxStream: number, first: number, out: Uint32Array): void
  random_uniform(stream: StreamHandle, out: TensorHandle, bound: number, seed: number, philoxStream: number): void

  layer_norm_forward(
    stream: StreamHandle,
    x: TensorHandle,
    weight: TensorHandle,
    bias: TensorHandle,
    eps: number,
    out: TensorHandle,
    mean: TensorHandle | null | undefined,
    rstd: TensorHandle | null | undefined,
  ): void
  layer_norm_backward(
    stream: StreamHandle,
    x: TensorHandle,
    weight: TensorHandle,
    mean: TensorHandle,
    rstd: TensorHandle,
    dout: TensorHandle,
    dx: TensorHandle | null | undefined,
    accumulateDx: boolean,
    dweight: TensorHandle,
    dbias: TensorHandle,
  ): void

  /** `packed` is of shape (out features rounded up to 32, in features). */
  linear_pack(stream: StreamHandle, weight: TensorHandle, packed: TensorHandle): void
  /** `activation`: 0 none, 1 ReLU, 2 GELU. */
  linear_forward(
    stream: StreamHandle,
    x: TensorHandle,
    weight: TensorHandle,
    packed: TensorHandle | null | undefined,
    bias: TensorHandle | null | undefined,
    activation: number,
    residual: TensorHandle | null | undefined,
    out: TensorHandle,
    saved: TensorHandle | null | undefined,
  ): void
  linear_backward(
    stream: StreamHandle,
    x: TensorHandle,
    weight: TensorHandle,
    activation: number,
    saved: TensorHandle | null | undefined,
    dout: TensorHandle,
    dx: TensorHandle | null | undefined,
    accumulateDx: boolean,
    dweight: TensorHandle | null | undefined,
    dbias: TensorHandle | null | undefined,
    dresidual: TensorHandle | null | undefined,
  ): void

  logistic_gradient(
    stream: StreamHandle,
    x: TensorHandle,
    target: TensorHandle,
    problem: TensorHandle,
    weight: TensorHandle,
    loss: TensorHandle,
    gradient: TensorHandle,
    scores: TensorHandle | null | undefined,
  ): void

  /** `fields` as native/bindings/field_embedding.cc lists them: kind and width, then the parts of that kind. */
  field_embedding_forward(
    stream: StreamHandle,
    concat: boolean,
    out: TensorHandle,
    numFields: number,
    fields: readonly EmbeddingFieldPart[],
  ): void
  field_embedding_backward(
    stream: StreamHandle,
    concat: boolean,
    dout: TensorHandle,
    numFields: number,
    fields: readonly EmbeddingFieldPart[],
  ): void

  piecewise_linear_forward(
    stream: StreamHandle,
    x: TensorHandle,
    numKnots: number,
    knots: TensorHandle,
    slopes: TensorHandle,
    offset: TensorHandle,
    out: TensorHandle,
  ): void
  piecewise_linear_backward(
    stream: StreamHandle,
    x: TensorHandle,
    numKnots: number,
    knots: TensorHandle,
    slopes: TensorHandle,
    dout: TensorHandle,
    dx: TensorHandle,
    accumulateDx: boolean,
  ): void

  /** `mode` 0 = mean, 1 = max, 2 = last. */
  pool_forward(
    stream: StreamHandle,
    mode: number,
    x: TensorHandle,
    offsets: OffsetsHandle,
    out: TensorHandle,
    argmax: TensorHandle | null | undefined,
  ): void
  pool_backward(
    stream: StreamHandle,
    mode: number,
    offsets: OffsetsHandle,
    dout: TensorHandle,
    argmax: TensorHandle | null | undefined,
    dx: TensorHandle,
    accumulateDx: boolean,
  ): void

  gather_rows_forward(stream: StreamHandle, x: TensorHandle, index: TensorHandle, out: TensorHandle): void
  gather_rows_backward(
    stream: StreamHandle,
    index: TensorHandle,
    dout: TensorHandle,
    dx: TensorHandle,
    accumulateDx: boolean,
    ascending: boolean,
  ): void

  softmax_cross_entropy_forward(
    stream: StreamHandle,
    logits: TensorHandle,
    targets: TensorHandle,
    weights: TensorHandle | null | undefined,
    loss: TensorHandle,
    correct: TensorHandle,
    rowMax: TensorHandle | null | undefined,
    rowSum: TensorHandle | null | undefined,
    total: TensorHandle | null | undefined,
  ): void
  softmax_cross_entropy_backward(
    stream: StreamHandle,
    logits: TensorHandle,
    targets: TensorHandle,
    weights: TensorHandle | null | undefined,
    rowMax: TensorHandle,
    rowSum: TensorHandle,
    total: TensorHandle,
    dout: TensorHandle,
    dlogits: TensorHandle,
    accumulateDlogits: boolean,
  ): void

  /** Lists of equal length, tensors of equal size at equal places. */
  adamw_update(
    stream: StreamHandle,
    values: readonly TensorHandle[],
    gradients: readonly TensorHandle[],
    m: readonly TensorHandle[],
    v: readonly TensorHandle[],
    decay: readonly boolean[],
    norm: TensorHandle,
    lr: number,
    beta1: number,
    beta2: number,
    eps: number,
    weightDecay: number,
    maxNorm: number,
    step: number,
    zeroGradients: boolean,
  ): void

  /** Any shapes with the same number of elements; `out` may be `a` or `b`. */
  add_forward(stream: StreamHandle, a: TensorHandle, b: TensorHandle, out: TensorHandle): void
  /** out = factor·x, or out += factor·x; `out` may be `x`. */
  scale_forward(stream: StreamHandle, x: TensorHandle, factor: number, out: TensorHandle, accumulate: boolean): void
  /** Forward (x to out) and backward (dout to dx) alike. */
  dropout_forward(
    stream: StreamHandle,
    x: TensorHandle,
    rate: number,
    seed: number,
    offset: number,
    out: TensorHandle,
    accumulate: boolean,
  ): void

  pair_contrastive_forward(
    stream: StreamHandle,
    scores: TensorHandle,
    entity: TensorHandle,
    inverseTemperature: number,
    isBinary: boolean,
    loss: TensorHandle,
    correct: TensorHandle,
    stats: TensorHandle,
    count: TensorHandle,
  ): void
  pair_contrastive_backward(
    stream: StreamHandle,
    scores: TensorHandle,
    entity: TensorHandle,
    inverseTemperature: number,
    isBinary: boolean,
    stats: TensorHandle,
    count: TensorHandle,
    dout: TensorHandle,
    dscores: TensorHandle,
    accumulateDscores: boolean,
  ): void

  l2_normalize_forward(stream: StreamHandle, x: TensorHandle, eps: number, out: TensorHandle, scale: TensorHandle): void
  l2_normalize_backward(
    stream: StreamHandle,
    out: TensorHandle,
    eps: number,
    scale: TensorHandle,
    dout: TensorHandle,
    dx: TensorHandle,
    accumulateDx: boolean,
  ): void
}
