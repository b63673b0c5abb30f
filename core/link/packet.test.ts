import { create } from '@bufbuild/protobuf'
import type { Packet } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import { PacketSchema } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import { describe, expect, it } from 'vitest'
import { utf8Decode, utf8Encode } from '../bytes.ts'
import { seededRandom } from '../random.ts'
import { bitFlips, expectRefusal, reasonOf } from '../testing/refusal.fixture.ts'
import type { PacketOpener, PacketSealer } from './packet.ts'
import { createPacketOpener, createPacketSealer, PACKET_REPLAY_WINDOW } from './packet.ts'

async function direction(): Promise<{ sealer: PacketSealer; opener: PacketOpener }> {
  const key = seededRandom(1).bytes(16)
  return { sealer: await createPacketSealer(key), opener: await createPacketOpener(key) }
}

async function sealAll(sealer: PacketSealer, count: number): Promise<Packet[]> {
  return Promise.all(Array.from({ length: count }, (_, i) => sealer.seal(utf8Encode(`packet ${i + 1}`))))
}

describe('packets', () => {
  it('are numbered from 1 in the order of the calls, and handed out in that order', async () => {
    const { sealer } = await direction()
    expect(sealer.sent).toBe(1n)
    const handedOut: bigint[] = []
    // Large and small in turn: the small ones are encrypted first.
    const sizes = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? 200_000 : 1))
    await Promise.all(sizes.map(async (size) => handedOut.push((await sealer.seal(new Uint8Array(size))).number)))
    expect(handedOut).toEqual(sizes.map((_, i) => BigInt(i + 1)))
    expect(sealer.sent).toBe(21n)
  })

  it('open in any order', async () => {
    const { sealer, opener } = await direction()
    const packets = await sealAll(sealer, 100)
    const random = seededRandom(3)
    const shuffled = packets
      .map((packet) => ({ packet, rank: random.uniform() }))
      .sort((a, b) => a.rank - b.rank)
      .map(({ packet }) => packet)
    for (const packet of shuffled) {
      expect(utf8Decode(await opener.open(packet))).toBe(`packet ${packet.number}`)
    }
  })

  it('open once, also when two copies arrive at the same moment', async () => {
    const { sealer, opener } = await direction()
    const [packet] = (await sealAll(sealer, 1)) as [Packet]
    const outcomes = await Promise.all([1, 2, 3].map(() => reasonOf(() => opener.open(packet))))
    expect(outcomes.sort()).toEqual(['LINK_REPLAY', 'LINK_REPLAY', 'accepted'])
    await expectRefusal(() => opener.open(packet), 'LINK_REPLAY')
  })

  it('are too old when more than 4,096 below the highest', async () => {
    const { sealer, opener } = await direction()
    const packets = await sealAll(sealer, PACKET_REPLAY_WINDOW + 2)
    await opener.open(packets.at(-1) as Packet)
    await expectRefusal(() => opener.open(packets[0] as Packet), 'LINK_REPLAY')
    expect(utf8Decode(await opener.open(packets[1] as Packet))).toBe('packet 2')
  })

  it('are refused, and change nothing, when any bit is flipped', async () => {
    const { sealer, opener } = await direction()
    const [packet] = (await sealAll(sealer, 1)) as [Packet]
    for (const { flipped } of bitFlips(packet.sealed)) {
      await expectRefusal(() => opener.open(create(PacketSchema, { ...packet, sealed: flipped })), 'LINK_OPEN')
    }
    for (let bit = 0n; bit < 64n; bit++) {
      const number = packet.number ^ (1n << bit)
      await expectRefusal(() => opener.open(create(PacketSchema, { ...packet, number })), 'LINK_OPEN')
    }
    expect(utf8Decode(await opener.open(packet))).toBe('packet 1')
  })

  it.each([
    ['their number is 0', { number: 0n }],
    ['their number is beyond the life of a key', { number: 2n ** 32n + 1n }],
    ['they are shorter than their tag', { sealed: new Uint8Array(15) }],
    ['they are empty', { sealed: new Uint8Array() }],
  ])('are refused when %s', async (_, change) => {
    const { sealer, opener } = await direction()
    const [packet] = (await sealAll(sealer, 1)) as [Packet]
    await expectRefusal(() => opener.open(create(PacketSchema, { ...packet, ...change })), 'LINK_OPEN')
  })

  it('are refused under the key of another link', async () => {
    const { sealer } = await direction()
    const [packet] = (await sealAll(sealer, 1)) as [Packet]
    const other = await createPacketOpener(seededRandom(2).bytes(16))
    await expectRefusal(() => other.open(packet), 'LINK_OPEN')
  })

  it('may be empty', async () => {
    const { sealer, opener } = await direction()
    const packet = await sealer.seal(new Uint8Array())
    expect(packet.sealed.length).toBe(16)
    expect((await opener.open(packet)).length).toBe(0)
  })
})
