import { VirtualClock } from '@mesh/core'
import { beforeEach, describe, expect, it } from 'vitest'
import { CheckUp, type CheckUpCause } from './check-up.ts'

let clock: VirtualClock
let checks: CheckUpCause[]
let checkUp: CheckUp

beforeEach(() => {
  clock = new VirtualClock()
  checks = []
  checkUp = new CheckUp(clock, (cause) => checks.push(cause))
})

describe('check-up', () => {
  it('checks at once', () => {
    checkUp.notice({ kind: 'woke', hiddenMs: 600_000 })
    expect(checks).toEqual([{ hiddenMs: 600_000, network: false }])
  })

  it('makes two checks of the dozen events of one awakening, and forgets nothing they said', async () => {
    checkUp.notice({ kind: 'woke', hiddenMs: 0 })
    for (let i = 0; i < 10; i++) {
      checkUp.notice({ kind: 'woke', hiddenMs: 0 })
      checkUp.notice({ kind: i === 5 ? 'network' : 'woke', hiddenMs: i === 3 ? 70_000 : 0 })
      await clock.advance(50)
    }
    await clock.advance(10_000)
    expect(checks).toEqual([
      { hiddenMs: 0, network: false },
      { hiddenMs: 70_000, network: true },
    ])
  })

  it('checks once a second at most, however long the events go on', async () => {
    for (let i = 0; i < 100; i++) {
      checkUp.notice({ kind: 'network' })
      await clock.advance(100)
    }
    expect(checks.length).toBeLessThanOrEqual(11)
  })

  it('checks nothing any more once closed', async () => {
    checkUp.notice({ kind: 'network' })
    checkUp.notice({ kind: 'network' })
    checkUp.close()
    await clock.advance(10_000)
    expect([checks.length, clock.pending]).toEqual([1, 0])
  })
})
