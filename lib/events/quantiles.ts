// Exact quantiles in SQL. DuckDB's own quantile_disc sorts once per share: far slower than one grouping or one sort.

import type { DuckDBConnection } from '@duckdb/node-api'
import { rows } from './duckdb.js'
import type { NumberProfile } from './source.js'

/** Up to so many distinct values, counting them is faster than sorting all. */
const FEW_VALUES = 50_000

/** Profile of the column x, without NULL, of a source (what stands after FROM). */
export async function profileNumbers(
  connection: DuckDBConnection,
  source: string,
  buckets: number,
  signal?: AbortSignal,
): Promise<NumberProfile> {
  const [[guess, total]] = (await rows(
    connection,
    `SELECT approx_count_distinct(x), count(*) FROM ${source}`,
    signal,
  )) as [[number, number]]
  if (total === 0) return { distinct: new Float64Array(0), quantiles: new Float64Array(0) }
  // The places of quantile_disc, counted from 1.
  const places = Array.from({ length: buckets + 1 }, (_, i) =>
    Math.max(1, total - Math.floor(total - (i / buckets) * total)),
  )
  const few = guess <= FEW_VALUES
  const sql = few
    ? `WITH counts AS (SELECT x, count(*) AS n FROM ${source} GROUP BY x),
         sums AS (SELECT x, CAST(sum(n) OVER (ORDER BY x) AS BIGINT) AS upto FROM counts)
       SELECT x FROM (SELECT unnest([${places.join(', ')}]::BIGINT[]) AS place) ASOF JOIN sums ON place <= upto ORDER BY place`
    : `SELECT x FROM (SELECT x, row_number() OVER (ORDER BY x) AS place FROM ${source})
       JOIN (SELECT unnest([${places.join(', ')}]::BIGINT[]) AS place) USING (place) ORDER BY place`
  const quantiles = Float64Array.from(await rows(connection, sql, signal), row => row[0] as number)
  if (!few) return { distinct: null, quantiles }
  const listed = await rows(connection, `SELECT DISTINCT x FROM ${source} LIMIT ${buckets + 1}`, signal)
  return {
    distinct: listed.length <= buckets ? Float64Array.from(listed, row => row[0] as number).sort() : null,
    quantiles,
  }
}
