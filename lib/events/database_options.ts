// Apart from duckdb.ts, so that the types of the package can be used where the optional peer is not installed.

/** How files are read. */
export interface DatabaseOptions {
  /** DuckDB's own memory before it spills to disk, e.g. '2GB'. Default '1GB'. */
  readonly memoryLimit?: string
  /** Default: all cores. */
  readonly threads?: number
  /** Folder for spilled data; a sub-folder is made in it and removed on close, one of a killed process by the next. Default: the system's. */
  readonly temporaryFolder?: string
}

export const DATABASE_OPTIONS = ['memoryLimit', 'threads', 'temporaryFolder'] as const
