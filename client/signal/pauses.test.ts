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
    expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000])
    pauses.reset()
    expect(await waited()).toBe(250)
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
