import { type Random, VirtualClock } from '@mesh/core'
import { beforeEach, describe, expect, it } from 'vitest'
import { Pauses } from './pauses.ts'

/** Full jitter at its upper end, so that waits are known. */
const LONGEST: Random = { bytes: (length) => new Uint8Array(length), uniform: () => 1 }

let clock: VirtualClock
let pauses: Pauses
let lifetime: AbortController

beforeEach(() => {
  clock = new VirtualClock()
  pauses = new Pauses(clock, LONGEST)
  lifetime = new AbortController()
})

/** How long the next wait takes, looked at every 50 ms. */
async function waited(atLeastMs = 0, during = async () => {}): Promise<number> {
  const startedMs = clock.monotonicMs()
  let over = false
  void pauses.wait(atLeastMs, lifetime.signal).then(() => {
    over = true
  })
  await clock.advance(0)
  await during()
  await clock.advance(0)
  while (!over) await clock.advance(50)
  return clock.monotonicMs() - startedMs
}

describe('pauses', () => {
  it('double, up to 15 s, until they start over', async () => {
    const waits: number[] = []
    for (let i = 0; i < 8; i++) waits.push(await waited())
    // The fifth is limited by the 3.75 s before it, the sixth by 7.5 s.
    expect(waits).toEqual([250, 500, 1_000, 2_000, 3_750, 7_500, 15_000, 15_000])
    pauses.reset()
    expect(await waited()).toBe(250)
  })

  it('are never longer than the outage so far, or 2 s, however many there were', async () => {
    const quick: Random = { ...LONGEST, uniform: () => 0.1 }
    let draws = quick
    pauses = new Pauses(clock, { ...LONGEST, uniform: () => draws.uniform() })
    for (let i = 0; i < 6; i++) await waited()
    expect(clock.monotonicMs()).toBeLessThan(1_000)
    draws = LONGEST
    expect(await waited()).toBe(2_000)
    const outageMs = clock.monotonicMs()
    expect(Math.abs((await waited()) - outageMs)).toBeLessThanOrEqual(50)
  })

  it('are as long as the backoff when a server asks for any, since it is there and has too much to do', async () => {
    for (let i = 0; i < 6; i++) await waited(1)
    pauses.reset()
    for (let i = 0; i < 4; i++) await waited(1)
    expect([await waited(1), await waited(1)]).toEqual([4_000, 8_000])
  })

  it('last as long as the server asks, at least', async () => {
    expect(await waited(7_000)).toBe(7_000)
  })

  it('are skipped, the one that runs or the next, and start over then', async () => {
    for (let i = 0; i < 5; i++) await waited()
    expect(await waited(0, async () => pauses.skip())).toBe(0)
    pauses.skip()
    expect([await waited(), await waited()]).toEqual([0, 500])
  })

  it('are not skipped below what the server asks', async () => {
    expect(await waited(3_000, async () => pauses.skip())).toBe(3_000)
  })

  it('end at once when the client does', async () => {
    expect(await waited(60_000, async () => lifetime.abort())).toBe(0)
    expect(clock.pending).toBe(0)
  })
})
