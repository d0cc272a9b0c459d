// Events: schema, sources, encoding, batches, tables.

export * from './batch.js'
export { type EncodedEvents, encodeChunk, type InputColumn } from './encode.js'
export * from './encoding.js'
export { readEvents } from './reader.js'
export * from './schema.js'
export * from './source.js'
