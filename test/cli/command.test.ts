// Arguments become values, or say what is wrong with them.

import { describe, expect, it } from 'vitest'
import { defineCommand, parseCommand, UsageError } from '../../lib/cli/command.js'
import { commands } from '../../lib/cli/commands/index.js'

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

describe('values that an option cannot have', () => {
  /** With files that do not exist: values are looked at before any of them. */
  async function run(name: string, ...args: string[]): Promise<void> {
    const one = commands.find(command => command.name === name)!
    const named = Object.entries(one.options).filter(([, { required }]) => required)
    const needed = named.flatMap(([option]) => [`--${option}`, 'none.csv'])
    const { values, help, ...context } = parseCommand(one, [...needed, ...args])
    await one.run(values, { ...context, signal: new AbortController().signal })
  }

  it.each([
    ['pretrain', ['--kernel', '4'], /kernel to be odd but received 4/],
    ['pretrain', ['--heads', '3', '--width', '10'], /heads to divide the width of 10 but received 3/],
    ['pretrain', ['--blocks', '-1'], /blocks to be a whole number in \[0, 128\]/],
    ['pretrain', ['--held-out', '0.9'], /heldOut to be in \[0, 0.5\]/],
    ['gbrt fit', ['--num-leaves', '1'], /--num-leaves to be a whole number in \[2, 131072\] but received '1'/],
    ['gbrt fit', ['--learning-rate', '0'], /--learning-rate to be a number in \(0, ∞\) but received '0'/],
    ['gbrt fit', ['--feature-fraction', '1.1'], /--feature-fraction to be a number in \(0, 1\]/],
    ['gbrt fit', ['--max-depth', '-2'], /--max-depth to be a whole number in \[-1, /],
    [
      'gbrt fit',
      ['--monotone-constraints', '1,2'],
      /--monotone-constraints to be a whole number in \[-1, 1\] but received '2'/,
    ],
    ['finetune', ['--epochs', '-1'], /epochs to be a whole number in \[0, 1000000\] but received -1/],
    ['finetune', ['--mixing', 'validated', '--validation', '0'], /rows to validate mixing on but received 0/],
    ['pu', ['--spies', '2'], /--spies to be a number in \(0, 1\) but received '2'/],
    ['pu', ['--rounds', '3,0'], /--rounds to be a whole number in \[1, ∞\) but received '0'/],
    [
      'pu',
      ['--positive-weight', '0'],
      /positiveWeight to be an integer from 1 to 1048576, or 'balanced' but received 0/,
    ],
    ['pu', ['--method', 'one-step', '--positive-weight', 'much'], /positiveWeight to be .* but received NaN/],
    ['pu', ['--learner', 'forest', '--learning-rate', '0.1'], /--learning-rate with --learner gbrt/],
    ...['pretrain', 'finetune', 'encode', 'score', 'aggregate'].map((name): [string, string[], RegExp] => [
      name,
      ['--memory-limit', 'foo'],
      /memoryLimit like '2GB' but received 'foo'/,
    ]),
    ['active init', ['--threshold', '0'], /threshold in \(0, 1\] but received 0/],
    ['active init', ['--patience', '0'], /patience to be an integer from 1/],
    ['active init', ['--up-sample', '1.5'], /upSample to be an integer from 1/],
    ['iforest', ['--trees', '0'], /--trees to be a whole number in \[1, /],
    ['bands', ['--edges', '50,10'], /rising percentiles in \[0, 100\] but received \[50, 10\]/],
    ['bands', ['--confidence', '1'], /--confidence to be a number in \(0, 1\)/],
    ['probe', ['--budgets', '50,1'], /--budgets to be a whole number in \[2, ∞\) but received '1'/],
    ['map', ['--neighbours', '1'], /--neighbours to be a whole number in \[2, ∞\)/],
  ])('%s %s is wrong usage', async (name, args, message) => {
    const wrong = run(name, ...args)
    await expect(wrong).rejects.toThrow(UsageError)
    await expect(wrong).rejects.toThrow(message)
  })

  it.each([
    ['gbrt fit', ['--num-leaves', '2', '--max-depth', '-1', '--num-iterations', '0', '--bagging-fraction', '1e-3']],
    ['pu', ['--spies', '0.5', '--most-negatives', '1', '--quantile', '0', '--rounds', '1,1']],
    ['pu', ['--method', 'isolation', '--trees', '9']],
    ['pu', ['--method', 'one-step', '--rounds', '2', '--positive-weight', 'balanced']],
    ['iforest', ['--trees', '1', '--samples', '1', '--extension', '0']],
    ['bands', ['--edges', '0,100', '--precision', '1']],
  ])('%s %s is not', async (name, args) => {
    await expect(run(name, ...args)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  })
})
