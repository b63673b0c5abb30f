import { seededRandom } from '@mesh/core'
import { beforeAll, describe, expect, test } from 'vitest'
import { parseSctpPacket, serializeChunk, serializeSack } from './sctp-packet.ts'
import { SctpPacketWriter, serializedChunk } from './sctp-packet-writer.ts'
import { loadWerift } from './werift-internals.ts'

let crc32c: (data: Uint8Array) => number
beforeAll(async () => {
  crc32c = (await loadWerift()).crc32c
})

const ROUTE = { sourcePort: 5000, destinationPort: 5000, verificationTag: 77 }

function packet(...chunks: Buffer[]): Buffer {
  return new SctpPacketWriter(crc32c).write(ROUTE, chunks.map(serializedChunk))
}

describe('An SCTP packet', () => {
  test('is read as it was written', () => {
    const gaps = [
      [2, 3],
      [9, 9],
    ] as const
    const parsed = parseSctpPacket(packet(serializeSack(5, 1000, gaps), serializeChunk(4, 0, Buffer.alloc(0))), crc32c)
    expect(parsed).toEqual({
      ...ROUTE,
      chunks: [
        { type: 3, cumulativeTsn: 5, advertisedRwnd: 1000, gaps, duplicates: [] },
        { type: 4, body: Buffer.alloc(0) },
      ],
    })
  })

  test('has the checksum of RFC 9260', () => {
    // The check value of CRC-32C.
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe306_9283)
    const damaged = packet(serializeSack(5, 1000, []))
    damaged[20]! ^= 1
    expect(parseSctpPacket(damaged, crc32c)).toBeUndefined()
  })

  test('is skipped over or cut at a chunk nobody knows, as its type says', () => {
    const sack = serializeSack(5, 1000, [])
    const typesAfter = (type: number) =>
      parseSctpPacket(packet(serializeChunk(type, 0, Buffer.alloc(3)), sack), crc32c)?.chunks.map((chunk) => chunk.type)
    expect(typesAfter(0x3f)).toEqual([])
    expect(typesAfter(0xbf)).toEqual([3])
    expect(typesAfter(14)).toEqual([3])
  })

  test('never makes the parser throw, run on or read beyond it, whatever its bytes', () => {
    const random = seededRandom(7)
    let wellFormed = 0
    for (let round = 0; round < 5000; round += 1) {
      const bytes = Buffer.from(random.bytes(16 + Math.floor(random.uniform() * 120)))
      bytes[12] = [0, 1, 2, 3, 4, 10, 130, 192][Math.floor(random.uniform() * 8)]!
      if (random.uniform() < 0.7) bytes.writeUInt16BE(Math.min(bytes.length - 12, 65_535), 14)
      bytes.writeUInt32LE(0, 8)
      bytes.writeUInt32LE(crc32c(bytes), 8)
      if (parseSctpPacket(bytes, crc32c) !== undefined) wellFormed += 1
    }
    expect(wellFormed).toBeGreaterThan(100)
  })
})
