import { seededRandom, VirtualClock } from '@mesh/core'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { lossyWire, type WireEnd } from './lossy-wire.fixture.ts'

afterEach(() => {
  vi.unstubAllGlobals()
})

const MIB = 1_048_576
const LIMIT_MS = 300_000
/** 256 messages of 16 KiB, each in 14 chunks of 1,160 bytes and one of what is left, each chunk in a packet of its own. */
const LEAST_PACKETS = 256 * 15

/** Virtual time, in which the end of a turn of the event loop comes before anything else does. */
function virtualClock(): VirtualClock {
  const clock = new VirtualClock(undefined, {
    settle: async () => {
      for (let i = 0; i < 4; i += 1) await undefined
    },
  })
  vi.stubGlobal('setImmediate', (run: () => void) => clock.schedule(0, run))
  return clock
}

/** Loses that share of the packets. */
function losing(share: number, seed = 1): () => boolean {
  const random = seededRandom(seed)
  return () => random.uniform() < share
}

/** Waits until `bytes` are there. Gives the longest time without a message, from the start of the clock, and MiB a second. */
async function watch(
  clock: VirtualClock,
  end: WireEnd,
  bytes: number,
): Promise<{ standstillMs: number; rate: number }> {
  while ((end.arrivals.at(-1)?.bytes ?? 0) < bytes) {
    await clock.advance(100)
    if (clock.monotonicMs() > LIMIT_MS) throw new Error(`Not there after ${LIMIT_MS} ms`)
  }
  const times = [0, ...end.arrivals.map(({ atMs }) => atMs)]
  const standstillMs = Math.max(...times.slice(1).map((atMs, i) => atMs - times[i]!))
  return { standstillMs, rate: bytes / MIB / (times.at(-1)! / 1000) }
}

describe('A transfer in both directions over a wire', () => {
  test.each([
    { roundTripMs: 2, seed: 1, least: 1 },
    { roundTripMs: 2, seed: 2, least: 1 },
    { roundTripMs: 50, seed: 1, least: 0.07 },
    { roundTripMs: 50, seed: 2, least: 0.07 },
  ])('that loses a packet in ten goes on at $least MiB/s with a round trip of $roundTripMs ms ($seed)', async (o) => {
    const clock = virtualClock()
    const ends = await lossyWire({ clock, delayMs: () => o.roundTripMs / 2, isLost: losing(0.1, o.seed) })
    for (const end of ends) end.send(4 * MIB)
    for (const end of ends) {
      const { standstillMs, rate } = await watch(clock, end, 4 * MIB)
      expect(rate).toBeGreaterThan(o.least)
      expect(standstillMs).toBeLessThan(1_000)
      // A tenth of them again for each loss, and few to ask.
      expect(end.dataPackets).toBeLessThan(1.2 * LEAST_PACKETS)
    }
  })

  test('that loses three packets in ten goes on long before a link would give it up', async () => {
    const clock = virtualClock()
    const ends = await lossyWire({ clock, delayMs: () => 10, isLost: losing(0.3) })
    for (const end of ends) end.send(MIB)
    for (const end of ends) expect((await watch(clock, end, MIB)).standstillMs).toBeLessThan(10_000)
  })

  test.each([2, 50])('that loses nothing sends nothing twice with a round trip of %i ms', async (roundTripMs) => {
    const clock = virtualClock()
    const ends = await lossyWire({ clock, delayMs: () => roundTripMs / 2, isLost: losing(0) })
    for (const end of ends) end.send(4 * MIB)
    for (const end of ends) {
      expect((await watch(clock, end, 4 * MIB)).rate).toBeGreaterThan(2)
      expect(end.dataPackets).toBe(LEAST_PACKETS)
    }
  })
})

test.each([
  { roundTripMs: 2, aroundMs: 1, least: 50 },
  { roundTripMs: 50, aroundMs: 10, least: 3 },
])(
  'A wire on which packets overtake each other carries $least MiB/s with a round trip of $roundTripMs ms',
  async (o) => {
    const clock = virtualClock()
    const random = seededRandom(1)
    const delayMs = () => (o.roundTripMs + o.aroundMs * random.uniform()) / 2
    const [left, right] = await lossyWire({ clock, delayMs, isLost: () => false })
    left.send(4 * MIB)
    expect((await watch(clock, right, 4 * MIB)).rate).toBeGreaterThan(o.least)
    expect(left.dataPackets).toBeLessThan(1.01 * LEAST_PACKETS)
  },
)

describe('A receiver', () => {
  test('acknowledges each packet at once while one is missing, and the one that was', async () => {
    const clock = virtualClock()
    let sent = 0
    const [left, right] = await lossyWire({ clock, delayMs: () => 5, isLost: () => sent++ === 0 })
    left.send(16_384)
    await clock.advance(5)
    expect(left.dataPackets).toBe(4)
    expect(right.acknowledgedAtMs).toEqual([5, 5, 5])
    await clock.advance(10)
    expect(right.acknowledgedAtMs[3]).toBe(15)
  })

  test('acknowledges at once what was sent again', async () => {
    const clock = virtualClock()
    let sent = 0
    const [left, right] = await lossyWire({ clock, delayMs: () => 5, isLost: () => sent++ === 0 })
    left.send(1)
    await clock.advance(1_000)
    expect(left.dataPackets).toBe(2)
    expect(right.acknowledgedAtMs).toEqual([right.arrivals[0]?.atMs])
  })

  test('acknowledges several packets of one turn together, and a lone one within 20 ms', async () => {
    const clock = virtualClock()
    const [left, right] = await lossyWire({ clock, delayMs: () => 5, isLost: () => false })
    left.send(16_384)
    await clock.advance(5)
    expect(left.dataPackets).toBe(4)
    expect(right.acknowledgedAtMs).toEqual([5])
    await clock.advance(1_000)
    expect(left.dataPackets).toBe(15)
    right.send(1)
    await clock.advance(1_000)
    expect(left.acknowledgedAtMs).toEqual([1_005 + 5 + 20])
    expect(right.dataPackets).toBe(1)
  })
})
