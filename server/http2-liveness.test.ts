import { EventEmitter } from 'node:events'
import type { Http2Session } from 'node:http2'
import { VirtualClock } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { Http2Liveness } from './http2-liveness.ts'

/** A connection of which a test decides what it does. */
class FakeSession extends EventEmitter {
  destroyed = false
  answers = true
  pings = 0
  readonly socket = { bytesRead: 0 }
  #pending: ((error: Error | null, durationMs: number) => void) | undefined

  ping(callback: (error: Error | null, durationMs: number) => void): boolean {
    this.pings += 1
    if (this.answers) queueMicrotask(() => callback(null, 7))
    else this.#pending = callback
    return true
  }

  answerLate(): void {
    this.#pending?.(null, 9_000)
  }

  destroy(): void {
    this.destroyed = true
    this.emit('close')
  }
}

function alive(): { clock: VirtualClock; session: FakeSession; liveness: Http2Liveness } {
  const clock = new VirtualClock()
  const session = new FakeSession()
  const liveness = new Http2Liveness(session as unknown as Http2Session, { clock, pingMs: 2_000, deadAfterMs: 4_000 })
  return { clock, session, liveness }
}

describe('a connection', () => {
  test('is pinged every interval, for as long as it answers', async () => {
    const { clock, session, liveness } = alive()
    await clock.advance(60_000)
    expect(session.pings).toBe(30)
    expect(liveness.rttMs).toBe(7)
    expect(session.destroyed).toBe(false)
  })

  test('is closed when nothing came for too long', async () => {
    const { clock, session } = alive()
    await clock.advance(3_000)
    session.answers = false
    // The last that was heard is the answer after 2 s.
    await clock.advance(2_999)
    expect(session.destroyed).toBe(false)
    await clock.advance(100)
    expect(session.destroyed).toBe(true)
    expect(clock.pending).toBe(0)
  })

  test('lives while anything comes: an answer may be stuck behind a table on a slow line', async () => {
    const { clock, session } = alive()
    session.answers = false
    for (let second = 0; second < 60; second++) {
      session.socket.bytesRead += 1_000
      await clock.advance(1_000)
    }
    expect(session.destroyed).toBe(false)
    // The other side may be as deaf, and then lives by these.
    expect(session.pings).toBe(30)
  })

  test('is looked at twice after a pause of this process: what came meanwhile has yet to be read', async () => {
    const { clock, session } = alive()
    session.answers = false
    await clock.advance(3_999)
    clock.schedule(20, () => {
      session.answers = true
      session.answerLate()
    })
    await clock.advance(60_000)
    expect(session.destroyed).toBe(false)
  })

  test('is closed soon after its time is up, whenever the last byte came', async () => {
    const { clock, session } = alive()
    session.answers = false
    await clock.advance(2_001)
    session.socket.bytesRead += 1
    await clock.advance(4_000)
    expect(session.destroyed).toBe(false)
    await clock.advance(1_100)
    expect(session.destroyed).toBe(true)
  })

  test('is left alone once it is closed', async () => {
    const { clock, session } = alive()
    session.destroy()
    await clock.advance(10_000)
    expect(session.pings).toBe(0)
    expect(clock.pending).toBe(0)
  })
})
