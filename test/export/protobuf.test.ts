// Bytes from the protocol buffers' documentation.

import { expect, test } from 'vitest'
import { ProtoMessage } from '../../lib/export/protobuf.js'
import { messages, parseProto, texts } from '../support/proto.js'

const hex = (message: ProtoMessage) => Buffer.from(message.finish()).toString('hex')

test('numbers', () => {
  expect(hex(new ProtoMessage().integer(1, 150))).toBe('089601')
  expect(hex(new ProtoMessage().integer(1, 0))).toBe('0800')
  expect(hex(new ProtoMessage().integer(1, -2))).toBe('08feffffffffffffffff01')
  expect(hex(new ProtoMessage().integer(16, 2 ** 35))).toBe('8001808080808001')
  expect(hex(new ProtoMessage().float(2, 1))).toBe('150000803f')
  expect(hex(new ProtoMessage().packed(6, [3, 270, 86942]))).toBe('3206038e029ea705')
})

test('text and messages', () => {
  expect(hex(new ProtoMessage().text(2, 'testing'))).toBe('120774657374696e67')
  const inner = new ProtoMessage().integer(1, 150)
  const outer = new ProtoMessage().message(3, inner)
  expect(hex(outer)).toBe('1a03089601')
  expect(outer.size).toBe(5)
})

test('what is written reads back', () => {
  const long = 'ä'.repeat(300)
  const message = new ProtoMessage().message(1, new ProtoMessage().text(1, long)).message(1, new ProtoMessage())
  const read = messages(parseProto(message.finish()), 1)
  expect(read.map(one => texts(one, 1))).toEqual([[long], []])
})
