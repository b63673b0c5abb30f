import { toHex } from '@mesh/core'
import { beforeEach, describe, expect, it } from 'vitest'
import { fakeRecord } from '../testing/record.fixture.ts'
import type { HandshakeSelf } from './handshake.ts'
import type { TopicHandle } from './topic-handle.ts'
import { Wants } from './wants.ts'

let wants: Wants

function handle(number: number, reachable = true): TopicHandle {
  const topic = new Uint8Array(32).fill(number)
  const self = () => (reachable ? ({} as HandshakeSelf) : undefined)
  return { name: toHex(topic), topic, self } as unknown as TopicHandle
}

beforeEach(() => {
  wants = new Wants()
})

describe('wants', () => {
  it('call in the first topic the peer is listed in and this side can be reached under', () => {
    const [unreachable, unlisted, good] = [handle(1, false), handle(2), handle(3)]
    wants.set(unreachable, fakeRecord())
    wants.set(unlisted, fakeRecord())
    expect(wants.unlist(unlisted, 'gone')).toBe(true)
    expect(wants.listed()).toBeUndefined()
    wants.set(good, fakeRecord())
    expect(wants.listed()?.handle).toBe(good)
    expect(wants.size).toBe(3)
  })

  it('are listed again with the next record', () => {
    const topic = handle(1)
    wants.set(topic, fakeRecord())
    wants.unlist(topic, 'silent')
    wants.set(topic, fakeRecord({ seq: 2 }))
    expect(wants.listed()?.record.record.seq).toBe(2n)
  })

  it('have hope as long as the peer is listed somewhere, or may come back', () => {
    const [here, there] = [handle(1), handle(2)]
    wants.set(here, fakeRecord())
    wants.set(there, fakeRecord())
    wants.unlist(here, 'gone')
    expect(wants.hopeful).toBe(true)
    wants.unlist(there, 'silent')
    expect([wants.hopeful, wants.listed()]).toEqual([true, undefined])
    wants.unlist(there, 'gone')
    expect(wants.hopeful).toBe(false)
  })

  it('keep the newest record of a session, and the newest process, whatever comes later', () => {
    const topic = handle(1)
    wants.set(topic, fakeRecord({ seq: 5 }))
    wants.set(topic, fakeRecord({ seq: 4 }))
    expect(wants.get(topic)?.record.record.seq).toBe(5n)
    wants.set(topic, fakeRecord({ seq: 3, session: 2, order: 2n << 20n }))
    wants.set(topic, fakeRecord({ seq: 9 }))
    expect(wants.get(topic)?.record.record.seq).toBe(3n)
  })

  it('follow a process from one of its sessions to another, back to an earlier one too', () => {
    const topic = handle(1)
    wants.set(topic, fakeRecord({ seq: 5, session: 2, order: (1n << 20n) + 2n }))
    wants.set(topic, fakeRecord({ seq: 4, session: 1, order: (1n << 20n) + 1n }))
    expect(wants.get(topic)?.record.record.seq).toBe(4n)
  })

  it('know nothing of what was never wanted, or not any more', () => {
    const topic = handle(1)
    expect(wants.unlist(topic, 'gone')).toBe(false)
    expect(wants.delete(topic)).toBe(false)
    wants.set(topic, fakeRecord())
    expect(wants.delete(topic)).toBe(true)
    expect(wants.get(topic)).toBeUndefined()
    expect([...wants]).toEqual([])
  })
})
