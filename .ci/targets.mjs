// What binaries are prebuilt for, and where each lies in the package.

import { join } from 'node:path'

export const TARGETS = {
  'linux-x64-glibc': { zig: 'x86_64-linux-gnu.2.17', cuda: true },
  'linux-x64-musl': { zig: 'x86_64-linux-musl', cuda: false },
  'linux-arm64-glibc': { zig: 'aarch64-linux-gnu.2.17', cuda: false },
  'linux-arm64-musl': { zig: 'aarch64-linux-musl', cuda: false },
}

export function prebuiltFile(root, name) {
  const [platform, arch, libc] = name.split('-')
  const file = join(root, 'prebuilds', `${platform}-${arch}`, `seqrisk.${libc}.node`)
  // Beside it, not published: the digest of what it was built from.
  return { file, libc, sources: `${file}.sources` }
}
