// Which binary belongs to this process: a local build first, then the prebuilt ones in the layout of prebuildify,
// prebuilds/PLATFORM-ARCH/seqrisk[.LIBC].node.

import { closeSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'

export type Libc = 'glibc' | 'musl'

/** What a binary has to fit. */
export interface Target {
  readonly platform: string
  readonly arch: string
  /** Null where the system has only one, or where nothing tells. */
  readonly libc: Libc | null
}

/** Long enough for the program headers of an ELF file and the name of its loader. */
const HEAD_BYTES = 4096

/** The target of this process. */
export function ownTarget(): Target {
  const { platform, arch } = process
  return { platform, arch, libc: platform === 'linux' ? (libcOf(head(process.execPath)) ?? libcOfReport()) : null }
}

/**
 * The libc that a program was linked against: the name of its loader says so. That holds for a glibc program in Alpine
 * and for a musl one in Debian, where files of the system would mislead.
 * @param program  the first bytes of an ELF file
 */
export function libcOf(program: string): Libc | null {
  if (/\/ld-musl-[\w.-]+\0/.test(program)) return 'musl'
  return /\/ld(-linux[\w.-]*|64)\.so\.\d\0/.test(program) ? 'glibc' : null
}

/** A hundred times slower: the report lists everything that a process knows of itself. */
function libcOfReport(): Libc | null {
  const { header, sharedObjects = [] } = report()
  if (header?.glibcVersionRuntime) return 'glibc'
  return sharedObjects.some(name => /\/(ld|libc)[.-]musl/.test(name)) ? 'musl' : null
}

interface Report {
  readonly header?: { readonly glibcVersionRuntime?: string }
  readonly sharedObjects?: readonly string[]
}

function report(): Report {
  return (process.report?.getReport() ?? {}) as Report
}

/** The target in words, for errors. */
export function describeTarget({ platform, arch, libc }: Target): string {
  const version = libc === 'glibc' ? ` ${report().header?.glibcVersionRuntime ?? 'of an unknown version'}` : ''
  return `${platform}-${arch} (${libc === null ? '' : `${libc}${version}, `}Node ${process.version})`
}

/** Where prebuilt binaries of a platform lie. */
export function prebuiltFolder(root: string, { platform, arch }: Target): string {
  return join(root, 'prebuilds', `${platform}-${arch}`)
}

/** The files to try, in order. Where nothing tells the libc, those of both are tried: the wrong one does not load. */
export function binariesFor(root: string, target: Target): string[] {
  const folder = prebuiltFolder(root, target)
  const prebuilt = list(folder).filter(name => {
    const [, libc] = /\.(glibc|musl)\.node$/.exec(name) ?? []
    return name.endsWith('.node') && (libc === undefined || target.libc === null || libc === target.libc)
  })
  // A file that names its libc before one that names none.
  prebuilt.sort((a, b) => b.split('.').length - a.split('.').length || (a < b ? -1 : 1))
  return [join(root, 'build', 'Release', 'seqrisk.node'), ...prebuilt.map(name => join(folder, name))]
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function head(file: string): string {
  try {
    const bytes = Buffer.alloc(HEAD_BYTES)
    const descriptor = openSync(file, 'r')
    try {
      return bytes.toString('latin1', 0, readSync(descriptor, bytes, 0, HEAD_BYTES, 0))
    } finally {
      closeSync(descriptor)
    }
  } catch {
    return ''
  }
}
