import { VirtualClock } from '@mesh/core'
import { beforeEach, describe, expect, it } from 'vitest'
import type { OutgoingCall } from './outgoing-call.ts'
import { Rekeying } from './rekeying.ts'

const MINUTE_MS = 60_000
let clock: VirtualClock
let sealed: bigint
let reachable: boolean
let calls: { ended: boolean; timeout: () => void }[]

beforeEach(() => {
  clock = new VirtualClock()
  sealed = 0n
  reachable = true
  calls = []
})

function makeRekeying(): Rekeying {
  return new Rekeying({
    clock,
    sealed: () => sealed,
    makeCall: (timeout) => {
      if (!reachable) return undefined
      const call = { ended: false, timeout }
      calls.push(call)
      const end = () => {
        call.ended = true
      }
      return { start: async () => {}, end } as unknown as OutgoingCall
    },
    onError: (error) => {
      throw error
    },
  })
}

describe('rekeying', () => {
  it('calls after an hour, and an hour after each time it is done', async () => {
    const rekeying = makeRekeying()
    await clock.advance(59 * MINUTE_MS)
    expect(calls).toHaveLength(0)
    await clock.advance(MINUTE_MS)
    expect(calls).toHaveLength(1)
    rekeying.done()
    expect(calls[0]?.ended).toBe(true)
    expect(rekeying.call).toBeUndefined()
    await clock.advance(59 * MINUTE_MS)
    expect(calls).toHaveLength(1)
    await clock.advance(MINUTE_MS)
    expect(calls).toHaveLength(2)
    rekeying.close()
  })

  it('calls when the packets of a key run out', async () => {
    const rekeying = makeRekeying()
    sealed = 2n ** 32n - 2n ** 24n - 1n
    await clock.advance(MINUTE_MS)
    expect(calls).toHaveLength(0)
    sealed += 1n
    await clock.advance(MINUTE_MS)
    expect(calls).toHaveLength(1)
    rekeying.close()
  })

  it('calls again at the next check when nobody answered, or nobody could be called', async () => {
    const rekeying = makeRekeying()
    reachable = false
    await clock.advance(60 * MINUTE_MS)
    reachable = true
    await clock.advance(MINUTE_MS)
    expect(calls).toHaveLength(1)
    calls[0]?.timeout()
    expect(rekeying.call).toBeUndefined()
    await clock.advance(MINUTE_MS)
    expect(calls).toHaveLength(2)
    rekeying.close()
  })

  it('ends its call and its timer when closed', async () => {
    const rekeying = makeRekeying()
    await clock.advance(60 * MINUTE_MS)
    rekeying.close()
    expect(calls[0]?.ended).toBe(true)
    expect(clock.pending).toBe(0)
  })
})
