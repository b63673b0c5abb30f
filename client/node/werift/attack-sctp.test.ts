import { afterAll, describe, expect, test } from 'vitest'
import { connectAttacker, expectAlive, type Pair, type PairSide, targetIsStock } from './loopback-pair.fixture.ts'
import type { StockPeer } from './stock-peer.fixture.ts'
import { loadWerift } from './werift-internals.ts'

const open: { close(): unknown }[] = []
afterAll(() => {
  for (const connection of open.splice(0)) connection.close()
})

type Attacked = Pair<PairSide, PairSide> & { attacker: StockPeer }

const u16 = (...values: number[]) => Buffer.concat(values.map((value) => Buffer.from([value >> 8, value & 255])))
const u32 = (...values: number[]) =>
  Buffer.concat(
    values.map((value) => Buffer.from([value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255])),
  )

/** A chunk whose length field says what it likes. */
function chunk(type: number, body: Buffer, { flags = 0, length = body.length + 4 } = {}): Buffer {
  return Buffer.concat([Buffer.from([type, flags]), u16(length), body])
}

/** A DATA chunk with the next number the target expects, plus `ahead`. */
function data(
  pair: Attacked,
  fields: { ahead?: number; stream?: number; protocol?: number; flags?: number; body?: Buffer },
) {
  const tsn = (pair.attacker.association().localTsn + (fields.ahead ?? 0)) >>> 0
  const body = fields.body ?? Buffer.from('data')
  const header = Buffer.concat([u32(tsn), u16(fields.stream ?? 0, 0), u32(fields.protocol ?? 53)])
  const padding = Buffer.alloc((4 - (body.length % 4)) % 4)
  return Buffer.concat([chunk(0, Buffer.concat([header, body]), { flags: fields.flags ?? 3 }), padding])
}

async function attack(pair: Attacked, chunks: Buffer[], tag?: number): Promise<void> {
  const { crc32c } = await loadWerift()
  const association = pair.attacker.association()
  const header = Buffer.concat([u16(5000, 5000), u32(tag ?? association.remoteVerificationTag), u32(0)])
  const packet = Buffer.concat([header, ...chunks])
  packet.writeUInt32LE(crc32c(packet), 8)
  await pair.attacker.transport().sendData(packet)
}

async function attacked(): Promise<Attacked> {
  const pair = await connectAttacker()
  open.push(pair.left, pair.right)
  return pair
}

/** One connection for all that must not harm it, and a new one after it was harmed. */
let standing: Attacked | undefined

async function unharmed(act: (pair: Attacked) => Promise<void>): Promise<void> {
  const pair = standing ?? (await attacked())
  standing = undefined
  await act(pair)
  await expectAlive(pair)
  expect(pair.left.connectionState).toBe('connected')
  standing = pair
}

const init = (fields: Buffer) => chunk(1, fields)
const INIT_FIELDS = Buffer.concat([u32(1, 65_536), u16(1, 1), u32(1)])

/** Packets that are wrong in themselves, or say nothing this target listens to. It must go on as if they had not come. */
const IGNORED: [string, (pair: Attacked) => Buffer[], number?][] = [
  ['a chunk of length zero', () => [chunk(0, Buffer.alloc(16), { length: 0 })]],
  ['a chunk of length three', () => [chunk(3, Buffer.alloc(16), { length: 3 })]],
  ['a chunk longer than the packet', () => [chunk(0, Buffer.alloc(16), { length: 65_535 })]],
  ['a truncated DATA chunk', () => [chunk(0, Buffer.alloc(6))]],
  ['a DATA chunk without data', () => [chunk(0, Buffer.alloc(12))]],
  ['a truncated SACK', () => [chunk(3, Buffer.alloc(4))]],
  ['a SACK with 65,535 gaps and none of them there', () => [chunk(3, Buffer.concat([u32(0, 0), u16(65_535, 65_535)]))]],
  ['a SACK whose gaps run backwards', () => [chunk(3, Buffer.concat([u32(0, 65_536), u16(1, 0), u16(60_000, 1)]))]],
  ['a SACK of what was never sent', () => [chunk(3, Buffer.concat([u32(0x7fff_ffff, 65_536), u16(0, 0)]))]],
  [
    'a SACK with a huge gap',
    (pair) => [
      chunk(
        3,
        Buffer.concat([u32(pair.attacker.association().lastReceivedTsn ?? 0, 65_536), u16(1, 0), u16(1, 65_535)]),
      ),
    ],
  ],
  ['a truncated INIT', () => [init(Buffer.alloc(8))], 0],
  ['a new INIT', () => [init(INIT_FIELDS)], 0],
  ['an INIT with a parameter of length zero', () => [init(Buffer.concat([INIT_FIELDS, u16(7, 0)]))], 0],
  ['an INIT beside another chunk', () => [init(INIT_FIELDS), chunk(11, Buffer.alloc(0))], 0],
  ['an INIT ACK out of place', () => [chunk(2, INIT_FIELDS)]],
  ['a cookie that was not ours', () => [chunk(10, Buffer.alloc(24))]],
  ['a COOKIE ECHO without a cookie', () => [chunk(10, Buffer.alloc(0))]],
  ['a COOKIE ACK out of place', () => [chunk(11, Buffer.alloc(0))]],
  ['a truncated FORWARD TSN', () => [chunk(192, Buffer.alloc(2))]],
  ['a FORWARD TSN far ahead', () => [chunk(192, Buffer.concat([u32(0x7fff_0000), u16(0, 9, 1)]))]],
  ['a RECONFIG with a parameter of length zero', () => [chunk(130, u16(13, 0))]],
  ['a RECONFIG with a truncated reset', () => [chunk(130, Buffer.concat([u16(13, 8), u32(1)]))]],
  [
    'a RECONFIG with an odd list of streams',
    () => [chunk(130, Buffer.concat([u16(13, 17), u32(1, 1, 1), Buffer.alloc(4)]))],
  ],
  ['a RECONFIG that adds streams', () => [chunk(130, Buffer.concat([u16(17, 12), u32(1), u16(65_535, 0)]))]],
  ['a RECONFIG response to nothing', () => [chunk(130, Buffer.concat([u16(16, 12), u32(1, 1)]))]],
  ['an ERROR with a cause of length zero', () => [chunk(9, u16(1, 0))]],
  ['a HEARTBEAT with a parameter of length zero', () => [chunk(4, u16(1, 0))]],
  ['a SHUTDOWN COMPLETE out of place', () => [chunk(14, Buffer.alloc(0))]],
  ['a chunk of an unknown type to stop at', () => [chunk(60, Buffer.alloc(4))]],
  ['a chunk of an unknown type to skip', () => [chunk(250, Buffer.alloc(4))]],
  ['an ABORT under another tag', () => [chunk(6, Buffer.alloc(0))], 12_345],
  ['data on a stream that does not exist, far ahead', (pair) => [data(pair, { ahead: 900, stream: 65_535 })]],
  ['2,000 chunks', () => Array.from({ length: 250 }, () => chunk(250, Buffer.alloc(0)))],
]

/** Messages that arrive, take their number, and mean nothing here. */
const SWALLOWED: [string, { stream?: number; protocol?: number; body?: Buffer }][] = [
  ['data on a stream nobody opened', { stream: 7 }],
  ['data on the highest stream', { stream: 65_535 }],
  ['a truncated channel opening', { stream: 3, protocol: 50, body: Buffer.from([3]) }],
  [
    'a channel opening with a label longer than itself',
    { stream: 3, protocol: 50, body: Buffer.from(`03000000000000000000ffffffff0000`, 'hex') },
  ],
  [
    'a channel opening on the open channel',
    { protocol: 50, body: Buffer.from('030000000000000000010000' + '61', 'hex') },
  ],
  ['a channel acknowledgement for no channel', { stream: 9, protocol: 50, body: Buffer.from([2]) }],
  ['an unknown payload protocol', { protocol: 4_000_000_000 }],
]

describe('A target whose connected peer', () => {
  test.each(IGNORED)('sends %s carries on', async (_, make, tag) => {
    await unharmed((pair) => attack(pair, make(pair), tag))
  })

  test.each(SWALLOWED)('sends %s carries on', async (_, fields) => {
    await unharmed(async (pair) => {
      const association = pair.attacker.association()
      const chunks = [data(pair, fields)]
      // The attacker's own association goes on after the number that was used.
      association.localTsn = (association.localTsn + 1) >>> 0
      association.lastSackedTsn = (association.lastSackedTsn + 1) >>> 0
      await attack(pair, chunks)
    })
  })

  test.each<[string, (pair: Attacked) => Buffer[]]>([
    ['a fragment out of nowhere', (pair) => [data(pair, { flags: 0 })]],
    ['two beginnings of a message', (pair) => [data(pair, { flags: 2 }), data(pair, { ahead: 1, flags: 2 })]],
    [
      'fragments on different streams',
      (pair) => [data(pair, { flags: 2 }), data(pair, { ahead: 1, flags: 1, stream: 4 })],
    ],
    ['unordered data', (pair) => [data(pair, { flags: 7 })]],
    ['an ABORT', () => [chunk(6, Buffer.alloc(0))]],
    ['a SHUTDOWN', () => [chunk(7, u32(0))]],
  ])('sends %s ends the association and nothing else', async (_, make) => {
    const pair = await attacked()
    const closed = new Promise<void>((resolve) => pair.leftChannel.addEventListener('close', resolve))
    await attack(pair, make(pair))
    await closed
    expect(pair.leftChannel.readyState).toBe('closed')
    await expect.poll(() => pair.left.connectionState).toBe('failed')
  })

  test('sends a message larger than agreed ends the association', async () => {
    const pair = await attacked()
    const closed = new Promise<void>((resolve) => pair.leftChannel.addEventListener('close', resolve))
    const body = Buffer.alloc(1024)
    for (let part = 0; part <= 64; part += 1) {
      await attack(pair, [data(pair, { ahead: part, flags: part === 0 ? 2 : 0, body })])
    }
    await closed
  })

  test.skipIf(targetIsStock)('sends only what cannot be delivered yet has a bounded part of it kept', async () => {
    const pair = await attacked()
    const body = Buffer.alloc(1024)
    for (let ahead = 1; ahead < 3000; ahead += 1) await attack(pair, [data(pair, { ahead, body })])
    expect(pair.left.connectionState).toBe('connected')
    await unharmed(() => Promise.resolve())
  })
})
