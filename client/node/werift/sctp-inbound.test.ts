import { describe, expect, test } from 'vitest'
import { SctpInbound, SctpViolation } from './sctp-inbound.ts'
import type { DataChunk } from './sctp-packet.ts'

function chunk(tsn: number, flags = 3, data = `m${tsn}`, streamId = 0): DataChunk {
  return { type: 0, flags, tsn: tsn >>> 0, streamId, protocol: 53, userData: Buffer.from(data) }
}

/** Streams 0 to 5 keep order, others do not. */
function inbound(cumulativeTsn: number) {
  const delivered: string[] = []
  const deliver = ({ data }: { data: Uint8Array }) => delivered.push(Buffer.from(data).toString())
  return { delivered, inbound: new SctpInbound(cumulativeTsn, deliver, (streamId) => streamId <= 5) }
}

describe('The inbound half of an association', () => {
  test.each([[10], [0xffff_fffd], [-1], [999_999_998]])(
    'delivers in order whatever the order of arrival after %i',
    (before) => {
      const { inbound: association, delivered } = inbound(before)
      const numbers = [1, 2, 3, 4, 5, 6].map((offset) => (before + offset) >>> 0)
      for (const index of [2, 1, 5, 0, 4, 3]) association.receive(chunk(numbers[index]!))
      expect(delivered).toEqual(numbers.map((tsn) => `m${tsn}`))
      expect(association.cumulativeTsn).toBe(numbers[5])
      expect(association.hasGaps).toBe(false)
    },
  )

  test('reports what is missing as gaps, across the wrap of the numbers too', () => {
    const { inbound: association } = inbound(0xffff_fffe)
    for (const offset of [2, 3, 6]) association.receive(chunk(0xffff_fffe + offset))
    expect(association.cumulativeTsn).toBe(0xffff_fffe)
    expect(association.gaps()).toEqual([
      [2, 3],
      [6, 6],
    ])
  })

  test('tells what it has seen before', () => {
    const { inbound: association, delivered } = inbound(0)
    expect(association.receive(chunk(1))).toBe(true)
    expect(association.receive(chunk(1))).toBe(false)
    expect(association.receive(chunk(3))).toBe(true)
    expect(association.receive(chunk(3))).toBe(false)
    expect(delivered).toEqual(['m1'])
  })

  test('joins fragments', () => {
    const { inbound: association, delivered } = inbound(0)
    association.receive(chunk(3, 1, 'c'))
    association.receive(chunk(1, 2, 'a'))
    association.receive(chunk(2, 0, 'b'))
    expect(delivered).toEqual(['abc'])
  })

  test('delivers what has no order as it comes, once, and counts its number as received', () => {
    const { inbound: association, delivered } = inbound(0)
    const datagram = (tsn: number) => chunk(tsn, 7, `d${tsn}`, 9)
    for (const one of [chunk(2), datagram(3), chunk(5, 2, 'a'), datagram(3), chunk(6, 1, 'b')]) association.receive(one)
    expect(delivered).toEqual(['d3'])
    expect(association.gaps()).toEqual([
      [2, 3],
      [5, 6],
    ])
    for (const one of [chunk(1), datagram(4)]) association.receive(one)
    expect(delivered).toEqual(['d3', 'm1', 'm2', 'd4', 'ab'])
    expect([association.cumulativeTsn, association.hasGaps, association.windowBytes]).toEqual([6, false, 1_048_576])
    expect(association.receive(datagram(4))).toBe(false)
  })

  test('joins fragments of a message without order in the order of their numbers', () => {
    const { inbound: association, delivered } = inbound(0)
    for (const [tsn, flags, data] of [
      [3, 5, 'c'],
      [1, 6, 'a'],
      [2, 4, 'b'],
    ] as const) {
      association.receive(chunk(tsn, flags, data, 9))
    }
    expect(delivered).toEqual(['abc'])
  })

  test('keeps one window of early data at most and says so', () => {
    const { inbound: association } = inbound(0)
    const data = 'x'.repeat(1024)
    for (let tsn = 2; tsn < 5000; tsn += 1) association.receive(chunk(tsn, 3, data))
    expect(association.windowBytes).toBe(0)
    expect(association.gaps()).toEqual([[2, 1025]])
  })

  test('keeps a bounded number of tiny early chunks', () => {
    const { inbound: association } = inbound(0)
    for (let tsn = 2; tsn < 60_000; tsn += 2) association.receive(chunk(tsn, 3, 'x'))
    expect(association.windowBytes).toBe(1_048_576 - 1024)
    expect(association.gaps()).toHaveLength(64)
  })

  test.each<[string, DataChunk[]]>([
    ['a fragment without a beginning', [chunk(1, 0)]],
    ['a second beginning', [chunk(1, 2), chunk(2, 2)]],
    ['fragments on two streams', [chunk(1, 2), chunk(2, 1, 'x', 5)]],
    ['data without order on an ordered stream', [chunk(1, 7)]],
    [
      'a message above 64 KiB',
      Array.from({ length: 65 }, (_, index) => chunk(1 + index, index === 0 ? 2 : 0, 'x'.repeat(1024))),
    ],
    [
      'a message of very many fragments',
      Array.from({ length: 1025 }, (_, index) => chunk(1 + index, index === 0 ? 2 : 0, 'x')),
    ],
  ])('refuses %s', (_, chunks) => {
    const { inbound: association } = inbound(0)
    expect(() => {
      for (const one of chunks) association.receive(one)
    }).toThrow(SctpViolation)
  })
})
