import { seededRandom } from '@mesh/core'
import { afterEach, describe, expect, it } from 'vitest'
import { drivenWorld, type World } from './driven-world.ts'

/** A server that is away for a while and comes back knowing nobody: how soon its clients have it again, and how spread. */
let world: World

afterEach(() => world.closeAll())

/** What calls take to be answered, records to be exchanged and a link to send again what waits. */
const SLACK_MS = 500

const SEEDS = 5

/** The longest wait between two attempts: as long as the outage, at least 2 s and at most 15 s. */
function longestWaitMs(outageMs: number): number {
  return Math.min(15_000, Math.max(2_000, outageMs))
}

describe.each([
  ['Subscribe and SendMessage', false],
  ['Exchange', true],
] as const)('peers over %s', (_name, duplex) => {
  it.each([1_000, 3_000, 40_000])('have the relay path again soon after an outage of %d ms', async (outageMs) => {
    const waits: number[] = []
    for (let seed = 1; seed <= SEEDS; seed++) {
      world = await drivenWorld({ duplex, random: seededRandom(seed) })
      const a = await world.join('party', { rtc: null })
      const b = await world.join('party', { rtc: null })
      const linked = () => [a, b].every(({ swarm }) => [...swarm.peers.values()].some(({ usable }) => usable))
      await world.until('linked', linked)
      await world.clock.advance(10_000)
      world.signaling.stop()
      await world.clock.advance(outageMs)
      expect(linked()).toBe(false)
      world.signaling.restart()
      const restartedAtMs = world.clock.monotonicMs()
      await world.until('linked again', linked)
      await world.settled(Promise.all([a, b].map(({ swarm }) => swarm.send('there you are'))))
      waits.push(world.clock.monotonicMs() - restartedAtMs)
      expect([a.texts, b.texts]).toEqual([['there you are'], ['there you are']])
      expect([a, b].flatMap(({ log }) => log.filter((entry) => /^(leave|restart)/.test(entry)))).toEqual([])
      await world.closeAll()
    }
    expect(Math.max(...waits)).toBeLessThan(longestWaitMs(outageMs) + SLACK_MS)
  })
})

describe('many clients of a server that was away', () => {
  const CLIENTS = 64
  const STEP_MS = 100

  it('come back spread, all of them in time', async () => {
    world = await drivenWorld({ random: seededRandom(1) })
    await Promise.all(Array.from({ length: CLIENTS }, (_, i) => world.join(`party ${i}`, { rtc: null })))
    await world.clock.advance(10_000)
    world.signaling.stop()
    await world.clock.advance(3_000)
    world.signaling.restart()
    const perStep: number[] = []
    for (let passedMs = 0; passedMs < 3_000 + SLACK_MS; passedMs += STEP_MS) {
      const before = world.signaling.sessionCount
      await world.clock.advance(STEP_MS)
      perStep.push(world.signaling.sessionCount - before)
    }
    expect(world.signaling.sessionCount).toBe(CLIENTS)
    // At random over 3 s, those with a short wait first: nowhere near everybody at once.
    expect(Math.max(...perStep)).toBeLessThan(CLIENTS / 8)
  })
})
