// Events: schema, sources, encoding, batches, tables.

export * from './batch.js'
export type { DatabaseOptions } from './database_options.js'
export { type EncodedEvents, encodeChunk, type InputColumn } from './encode.js'
export * from './encode_source.js'
export * from './encoding.js'
export { readEvents } from './reader.js'
export { type CellOf, type EventRow, fromRows } from './rows.js'
export * from './schema.js'
export * from './source.js'
export * from './table.js'
export * from './vectors.js'
export { VectorWriter, type WriteOptions, writeTable, writeVectors } from './write.js'
