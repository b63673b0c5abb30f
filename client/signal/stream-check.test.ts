import { MeshError, VirtualClock } from '@mesh/core'
import { beforeEach, describe, expect, it } from 'vitest'
import type { SignalSession } from './session.ts'
import type { SignalState } from './signal-state.ts'
import { StreamCheck } from './stream-check.ts'

const CONNECTED: SignalState = { kind: 'connected', session: { heartbeatMs: 10_000 } as SignalSession }
const WOKE = { hiddenMs: 0, network: false }
const NETWORK = { hiddenMs: 0, network: true }

let clock: VirtualClock
let state: SignalState
let log: string[]
let answer: PromiseWithResolvers<void>
let check: StreamCheck

beforeEach(() => {
  clock = new VirtualClock()
  state = CONNECTED
  log = []
  answer = Promise.withResolvers()
  check = new StreamCheck({
    clock,
    state: () => state,
    ask: () => {
      log.push('ask')
      return answer.promise
    },
    hurry: () => log.push('hurry'),
    restart: () => log.push('restart'),
  })
  check.begin()
})

describe('stream check', () => {
  it('leaves a stream alone that spoke within a heartbeat', async () => {
    await clock.advance(60_000)
    check.alive()
    await clock.advance(9_000)
    check.check(WOKE)
    expect(log).toEqual([])
  })

  it('asks the server about a stream that missed a heartbeat, once', async () => {
    await clock.advance(12_000)
    check.check(WOKE)
    check.check(WOKE)
    answer.resolve()
    await clock.advance(0)
    expect(log).toEqual(['ask'])
  })

  it('asks whatever the stream said when the network may be another one', () => {
    check.check(NETWORK)
    expect(log).toEqual(['ask'])
  })

  it('opens a stream again whose server does not answer', async () => {
    check.check(NETWORK)
    answer.reject(new Error('timeout'))
    await clock.advance(0)
    expect(log).toEqual(['ask', 'restart'])
  })

  it('does not blame a newer stream, or one that is over, for an answer that did not come', async () => {
    check.check(NETWORK)
    check.begin()
    answer.reject(new Error('timeout'))
    await clock.advance(0)
    answer = Promise.withResolvers()
    check.check(NETWORK)
    state = { kind: 'connecting' }
    answer.reject(new Error('timeout'))
    await clock.advance(0)
    expect(log).toEqual(['ask', 'ask'])
  })

  it.each([
    ['by this clock', 26_000, 0],
    ['by the wall clock', 0, 26_000],
    ['by both', 13_000, 13_000],
  ])('opens a stream again at once that was without a byte for too long, %s', async (_how, passedMs, hiddenMs) => {
    await clock.advance(passedMs)
    check.check({ hiddenMs, network: false })
    expect(log).toEqual(['restart'])
  })

  it('lets a client that waits go on, and restarts an attempt that began before the sleep', async () => {
    state = { kind: 'waiting', error: MeshError.from(new Error()) }
    check.check(WOKE)
    state = { kind: 'connecting' }
    check.begin()
    check.check(WOKE)
    await clock.advance(600_000)
    check.check(WOKE)
    state = { kind: 'closed', error: undefined }
    check.check(WOKE)
    expect(log).toEqual(['hurry', 'restart'])
  })
})
