import { seededRandom } from '@mesh/core'
import { beforeEach, describe, expect, test } from 'vitest'
import { Flight, type FlightChunk } from './sctp-flight.ts'
import { SACK } from './sctp-packet.ts'

const BYTES = 1000
const ROUND_TRIP_MS = 20
const WINDOW_BYTES = 1_048_576

class TestChunk implements FlightChunk {
  readonly bookSize = BYTES
  readonly place: number
  fate: FlightChunk['fate'] = 'flying'
  sentCount = 0
  packet = 0
  sentAtMs = 0
  wasLost = false

  constructor(place: number) {
    this.place = place
  }
}

let flight: Flight<TestChunk>
let chunks: TestChunk[]
let packets: number

function start(before = 0): void {
  flight = new Flight(before, BYTES)
  chunks = []
  packets = 0
}
beforeEach(() => start())

/** Sends new chunks, each in a packet of its own. Places count from 1, as the numbers do. */
function send(count: number, atMs: number): void {
  for (let i = 0; i < count; i += 1) {
    const chunk = new TestChunk(chunks.length + 1)
    chunks.push(chunk)
    flight.sent(chunk, ++packets, atMs)
  }
}

function sendAgain(atMs: number): number[] {
  const again = [...flight.lost()]
  for (const chunk of again) flight.sent(chunk, ++packets, atMs)
  return again.map(({ place }) => place)
}

type Gap = readonly [first: number, last: number]
const sack = (cumulativeTsn: number, gaps: readonly Gap[] = [], advertisedRwnd = WINDOW_BYTES) =>
  ({ type: SACK, cumulativeTsn, advertisedRwnd, gaps, duplicates: [] }) as const

const lostPlaces = () => [...flight.lost()].map(({ place }) => place)

/** A window of `count` chunks or more, with nothing in flight and all round trips the same. */
function settled(count: number): number {
  let atMs = 0
  while (flight.windowBytes < count * BYTES) {
    send(Math.ceil(flight.windowBytes / BYTES), atMs)
    atMs += ROUND_TRIP_MS
    flight.acknowledge(sack(chunks.length), atMs)
  }
  return atMs
}

describe('A chunk in flight', () => {
  test('is lost when a packet arrived that left three packets later', () => {
    send(4, 0)
    flight.acknowledge(sack(0, [[2, 3]]), ROUND_TRIP_MS)
    expect(lostPlaces()).toEqual([])
    flight.acknowledge(sack(0, [[2, 4]]), ROUND_TRIP_MS)
    expect(lostPlaces()).toEqual([1])
    expect(flight.bytes).toBe(0)
  })

  test('is lost after a round trip and an eighth when any later packet arrived', () => {
    send(2, 0)
    flight.acknowledge(sack(0, [[2, 2]]), ROUND_TRIP_MS)
    expect(lostPlaces()).toEqual([])
    expect(flight.deadlineMs).toBe(22.5)
    flight.expire(22.5)
    expect(lostPlaces()).toEqual([1])
  })

  test('is found lost again within a round trip when what was sent after it arrives', () => {
    send(4, 0)
    flight.acknowledge(sack(0, [[2, 4]]), 20)
    expect(sendAgain(20)).toEqual([1])
    send(3, 20)
    flight.acknowledge(sack(0, [[2, 7]]), 40)
    expect(lostPlaces()).toEqual([1])
  })

  test('is not lost when what arrived had left before it was sent again', () => {
    send(6, 0)
    flight.acknowledge(sack(0, [[2, 4]]), 20)
    sendAgain(20)
    flight.acknowledge(sack(0, [[2, 6]]), 21)
    expect(lostPlaces()).toEqual([])
  })

  test('says nothing of others when it comes back sooner than anything did', () => {
    send(6, 0)
    flight.acknowledge(sack(2), 20)
    flight.expire(500)
    expect(sendAgain(500)).toEqual([5, 6])
    flight.acknowledge(sack(2, [[3, 3]]), 501)
    expect(flight.bytes).toBe(3 * BYTES)
    expect(lostPlaces()).toEqual([])
  })

  test('says nothing of the round trip when it was sent twice', () => {
    settled(8)
    const { timeoutMs } = flight
    const atMs = 1_000
    send(1, atMs)
    flight.expire(atMs + 500)
    sendAgain(atMs + 500)
    flight.acknowledge(sack(chunks.length), atMs + 800)
    expect(flight.timeoutMs).toBe(timeoutMs)
  })

  test('that arrived is not sent again, and is not counted, whatever expires', () => {
    send(4, 0)
    flight.acknowledge(sack(0, [[3, 3]]), 20)
    let atMs = 20
    for (let i = 0; i < 12; i += 1) {
      atMs = flight.deadlineMs!
      flight.expire(atMs)
      sendAgain(atMs)
    }
    expect(chunks[2]?.sentCount).toBe(1)
    expect(flight.bytes).toBe(3 * BYTES)
    flight.acknowledge(sack(4), atMs + 20)
    expect(flight.bytes).toBe(0)
    expect(flight.deadlineMs).toBeUndefined()
  })

  test('that the peer has thrown away after it arrived is sent again', () => {
    send(3, 0)
    flight.acknowledge(sack(0, [[2, 3]]), 20)
    flight.acknowledge(sack(1), 40)
    expect(lostPlaces()).toEqual([2])
  })

  test('has numbers that begin again after the last', () => {
    start(0xffff_fffd)
    send(4, 0)
    expect(flight.acknowledge(sack(0xffff_fffe, [[2, 3]]), 20)).toBe(true)
    expect(flight.bytes).toBe(BYTES)
    expect(flight.acknowledge(sack(1), 21)).toBe(true)
    expect(flight.bytes).toBe(0)
  })
})

describe('When nothing comes any more', () => {
  test('the last two chunks are sent again, whatever the window says, after ever longer times up to 3 s', () => {
    settled(8)
    const [last, atMs] = [chunks.length, 1_000]
    send(8, atMs)
    const before = flight.windowBytes
    const waits: number[] = []
    for (let now = atMs; waits.length < 12; ) {
      const deadlineMs = flight.deadlineMs!
      waits.push(Math.round(deadlineMs - now))
      now = deadlineMs
      flight.expire(now)
      if (waits.length === 1) {
        expect(lostPlaces()).toEqual([last + 7, last + 8])
        expect([flight.takeSpare(), flight.takeSpare(), flight.takeSpare()]).toEqual([true, true, false])
        expect(flight.windowBytes).toBe(before)
      }
      sendAgain(now)
    }
    expect(waits[0]).toBeGreaterThanOrEqual(ROUND_TRIP_MS + 10)
    expect(waits[0]).toBeLessThan(4 * ROUND_TRIP_MS)
    expect(waits[1]! / waits[0]!).toBeCloseTo(2, 0)
    expect(waits.at(-1)).toBe(3_000)
  })

  test('a lone chunk is given the time its receiver may take to acknowledge it, and that once', () => {
    const atMs = settled(8)
    send(1, atMs)
    const first = flight.deadlineMs! - atMs
    expect(first).toBeGreaterThan(200 + ROUND_TRIP_MS)
    flight.expire(atMs + first)
    sendAgain(atMs + first)
    expect(flight.deadlineMs! - atMs - first).toBeLessThan(first)
  })

  test('for a second, all is taken for lost and goes again, one chunk at first', () => {
    const atMs = settled(8)
    send(8, atMs)
    let now = atMs
    while (now < atMs + 1_000) {
      now = flight.deadlineMs!
      flight.expire(now)
      if (now < atMs + 1_000) sendAgain(now)
    }
    expect(lostPlaces()).toHaveLength(8)
    expect(flight.windowBytes).toBe(BYTES)
  })

  test.each([
    ['at first', 0],
    ['after a long pause', 3_600_000],
  ])('%s, it is asked before all is taken for lost', (_, pauseMs) => {
    if (pauseMs > 0) settled(8)
    const before = flight.windowBytes
    send(4, pauseMs)
    for (let i = 0; i < (pauseMs > 0 ? 2 : 1); i += 1) {
      const atMs = flight.deadlineMs!
      flight.expire(atMs)
      expect(sendAgain(atMs)).toHaveLength(2)
    }
    expect(flight.windowBytes).toBe(before)
  })

  test('what comes late after all shows that nothing was lost', () => {
    const atMs = settled(8)
    send(8, atMs)
    const deadlineMs = flight.deadlineMs!
    flight.expire(deadlineMs)
    sendAgain(deadlineMs)
    for (let done = chunks.length - 7; done <= chunks.length; done += 1) flight.acknowledge(sack(done), deadlineMs + 5)
    expect(lostPlaces()).toEqual([])
    expect(flight.bytes).toBe(0)
    expect(flight.windowBytes).toBeGreaterThanOrEqual(8 * BYTES)
  })
})

describe('The window of a flight', () => {
  test('is halved once for all that a round trip loses, and not below four chunks', () => {
    let atMs = settled(32)
    const before = flight.windowBytes
    const done = chunks.length
    send(32, atMs)
    atMs += ROUND_TRIP_MS
    flight.acknowledge(sack(done, [[2, 8]]), atMs)
    flight.acknowledge(
      sack(done, [
        [2, 8],
        [10, 32],
      ]),
      atMs,
    )
    expect(lostPlaces()).toEqual([done + 1, done + 9])
    expect(flight.windowBytes).toBe(Math.floor(before / 2))
    expect([flight.takeSpare(), flight.takeSpare()]).toEqual([true, false])
    for (let i = 0; i < 7; i += 1) {
      sendAgain(atMs)
      send(4, atMs)
      atMs += ROUND_TRIP_MS
      flight.acknowledge(
        sack(done, [
          [2, 8],
          [10, chunks.length - done],
        ]),
        atMs,
      )
    }
    expect(flight.windowBytes).toBe(4 * BYTES)
  })

  test('is given back when what was taken for lost had only been overtaken', () => {
    const atMs = settled(32)
    const before = flight.windowBytes
    const done = chunks.length
    send(32, atMs)
    flight.acknowledge(sack(done, [[2, 8]]), atMs + ROUND_TRIP_MS)
    expect(flight.windowBytes).toBeLessThan(before)
    expect(sendAgain(atMs + ROUND_TRIP_MS)).toEqual([done + 1])
    flight.acknowledge(sack(done + 8), atMs + ROUND_TRIP_MS + 1)
    expect(flight.windowBytes).toBeGreaterThanOrEqual(before)
    // From now on more may overtake it.
    flight.acknowledge(sack(done + 8, [[2, 6]]), atMs + ROUND_TRIP_MS + 2)
    expect(lostPlaces()).toEqual([])
    flight.acknowledge(sack(done + 8, [[2, 7]]), atMs + ROUND_TRIP_MS + 2)
    expect(lostPlaces()).toEqual([done + 9])
  })

  test('is not given back when one of several was lost', () => {
    const atMs = settled(32)
    const done = chunks.length
    send(32, atMs)
    flight.acknowledge(sack(done, [[3, 8]]), atMs + ROUND_TRIP_MS)
    const { windowBytes } = flight
    expect(lostPlaces()).toEqual([done + 1, done + 2])
    flight.acknowledge(sack(done + 1, [[2, 7]]), atMs + ROUND_TRIP_MS)
    expect(flight.windowBytes).toBe(windowBytes)
  })

  test('is not given back when what came may be any of several copies', () => {
    const atMs = settled(8)
    const done = chunks.length
    send(8, atMs)
    flight.acknowledge(sack(done, [[2, 8]]), atMs + ROUND_TRIP_MS)
    const { windowBytes } = flight
    sendAgain(atMs + ROUND_TRIP_MS)
    const askedAtMs = flight.deadlineMs!
    flight.expire(askedAtMs)
    expect(sendAgain(askedAtMs)).toEqual([done + 1])
    flight.acknowledge(sack(done + 8), askedAtMs + 1)
    expect(flight.windowBytes).toBe(windowBytes)
  })

  test('is given back for what was overtaken, whatever was lost before', () => {
    const atMs = settled(32)
    const done = chunks.length
    send(16, atMs)
    flight.acknowledge(sack(done, [[3, 16]]), atMs + ROUND_TRIP_MS)
    sendAgain(atMs + ROUND_TRIP_MS)
    flight.acknowledge(sack(done + 16), atMs + 2 * ROUND_TRIP_MS)
    const { windowBytes } = flight
    send(16, atMs + 2 * ROUND_TRIP_MS)
    flight.acknowledge(sack(done + 16, [[2, 16]]), atMs + 3 * ROUND_TRIP_MS)
    expect(flight.windowBytes).toBeLessThan(windowBytes)
    flight.acknowledge(sack(done + 32), atMs + 3 * ROUND_TRIP_MS)
    expect(flight.windowBytes).toBeGreaterThanOrEqual(windowBytes)
  })

  test('grows when it was full, and only then', () => {
    const before = flight.windowBytes
    send(1, 0)
    flight.acknowledge(sack(1), 20)
    expect(flight.windowBytes).toBe(before)
    send(5, 20)
    flight.acknowledge(sack(6), 40)
    expect(flight.windowBytes).toBe(before + 5 * BYTES)
  })

  test('does not grow beyond 4 MiB, whatever is acknowledged', () => {
    let atMs = 0
    for (let i = 0; i < 6_000; i += 1) {
      send(Math.ceil((flight.windowBytes - flight.bytes) / BYTES), atMs)
      flight.acknowledge(sack(chunks.length - Math.floor(flight.bytes / BYTES) + 1), atMs)
      atMs += 1
    }
    expect(flight.windowBytes).toBe(4_194_304)
  })

  test('leaves one chunk to ask a peer that has no room', () => {
    send(1, 0)
    flight.acknowledge(sack(1, [], 0), 20)
    expect(flight.fitsPeer(BYTES)).toBe(true)
    send(1, 20)
    expect(flight.fitsPeer(BYTES)).toBe(false)
  })
})

describe('An acknowledgement', () => {
  test.each<[string, number, Gap[]]>([
    ['more than was sent', 9, []],
    ['a gap beyond what was sent', 4, [[2, 5]]],
    ['less than another did', 2, []],
    ['numbers half the range away', 0x8000_0004, []],
  ])('of %s is not believed', (_, cumulativeTsn, gaps) => {
    send(8, 0)
    flight.acknowledge(sack(4), 20)
    expect(flight.acknowledge(sack(cumulativeTsn, gaps, 0), 21)).toBe(false)
    expect(flight.bytes).toBe(4 * BYTES)
    expect(flight.fitsPeer(BYTES)).toBe(true)
  })

  test('of any kind, true or false, leaves the account in order', () => {
    const random = seededRandom(11)
    const upTo = (count: number) => Math.floor(random.uniform() * count)
    let believed = 0
    let done = 0
    for (let round = 0; round < 5_000; round += 1) {
      const atMs = round * 3
      if (flight.bytes < flight.windowBytes) send(1 + upTo(4), atMs)
      const gaps: Gap[] = []
      for (let at = 1 + upTo(6); gaps.length < upTo(4); at += 2 + upTo(4)) gaps.push([at, at + upTo(2)])
      const to = done + (random.uniform() < 0.1 ? -1 : upTo(4))
      if (flight.acknowledge(sack(to >>> 0, gaps), atMs)) {
        believed += 1
        done = to
      }
      if ((flight.deadlineMs ?? atMs) < atMs) flight.expire(atMs)
      if (random.uniform() < 0.5) sendAgain(atMs)
      const open = chunks.slice(done)
      const count = (fate: string) => open.filter((chunk) => chunk.fate === fate).length
      expect(flight.bytes).toBe(BYTES * count('flying'))
      expect(lostPlaces()).toHaveLength(count('lost'))
      expect(open[0]?.fate).not.toBe('arrived')
    }
    expect(believed).toBeGreaterThan(1_000)
  })
})
