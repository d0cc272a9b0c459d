import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    // Two cores: test files one after the other, so that timings and thread counts mean what they say.
    fileParallelism: false,
    testTimeout: 60_000,
    // As long as a test: some train a model that all tests of the file read.
    hookTimeout: 60_000,
  },
})
