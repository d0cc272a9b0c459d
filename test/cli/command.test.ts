// Arguments become values, or say what is wrong with them.

import { describe, expect, it } from 'vitest'
import { defineCommand, parseCommand, UsageError } from '../../lib/cli/command.js'

const command = defineCommand({
  name: 'mix',
  about: 'nothing',
  options: { in: { kind: 'texts', value: 'FILE', about: 'files' } },
  run: async () => ({}),
  show: () => '',
})

describe('options of every command', () => {
  it('are numbers, flags and words', () => {
    const parsed = parseCommand(command, ['--threads', '3', '--seed', '0', '--json', '--in', 'a', 'b'])
    expect(parsed).toMatchObject({ threads: 3, seed: 0, json: true, device: 'auto', values: { in: ['a', 'b'] } })
  })

  it.each([
    [['--threads', '0'], /--threads to be a whole number in \[1, 1024\] but received '0'/],
    [['--threads', '1.5'], /--threads to be a whole number in \[1, 1024\] but received '1.5'/],
    [['--seed=-3'], /--seed to be a whole number in \[0, .* but received '-3'/],
    [['--seed', '-3'], /--seed to be a whole number in \[0, .* but received '-3'/],
    [['--constructor', 'x'], /known options but received --constructor/],
  ])('%s is wrong usage', (args, message) => {
    expect(() => parseCommand(command, args)).toThrow(UsageError)
    expect(() => parseCommand(command, args)).toThrow(message)
  })
})
