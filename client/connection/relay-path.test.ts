import { fromBinary } from '@bufbuild/protobuf'
import { ErrorReason, MeshError, VirtualClock } from '@mesh/core'
import { type Packet, PeerPayloadSchema, type RelayedPackets } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import type { SessionLimits } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { beforeEach, describe, expect, it } from 'vitest'
import { RelayPath } from './relay-path.ts'

const ID = new Uint8Array(16).fill(1)
const OTHER_ID = new Uint8Array(16).fill(2)
let clock: VirtualClock
let sent: { payload: Uint8Array; batch: RelayedPackets; done: PromiseWithResolvers<void> }[]
let ready: number
let failures: MeshError[]

beforeEach(() => {
  clock = new VirtualClock()
  sent = []
  ready = 0
  failures = []
})

function makePath(limits?: Partial<SessionLimits>): RelayPath {
  return new RelayPath({
    clock,
    limits: limits as SessionLimits | undefined,
    send: (payload) => {
      const { payload: content } = fromBinary(PeerPayloadSchema, payload)
      const done = Promise.withResolvers<void>()
      sent.push({ payload, batch: content.value as RelayedPackets, done })
      return done.promise
    },
    onReady: () => ready++,
    onFailure: (error) => failures.push(error),
  })
}

function packet(number: number, bytes = 100): Packet {
  return { $typeName: 'mesh.peer.v1.Packet', number: BigInt(number), sealed: new Uint8Array(bytes) }
}

function numbers(index: number): number[] {
  return (sent[index]?.batch.packets ?? []).map(({ number }) => Number(number))
}

describe('relay path', () => {
  it('puts what is ready in one turn into one envelope, in order', async () => {
    const path = makePath()
    for (let i = 1; i <= 5; i++) path.push(ID, packet(i))
    expect(sent).toEqual([])
    await clock.advance(0)
    expect(sent).toHaveLength(1)
    expect(numbers(0)).toEqual([1, 2, 3, 4, 5])
    expect(sent[0]?.batch.connectionId).toEqual(ID)
  })

  it('starts another envelope at 48 KiB, and for another connection', async () => {
    const path = makePath()
    for (let i = 1; i <= 4; i++) path.push(ID, packet(i, 16_000))
    path.push(OTHER_ID, packet(5))
    await clock.advance(0)
    expect([numbers(0), numbers(1), numbers(2)]).toEqual([[1, 2, 3], [4], [5]])
  })

  it('stays below 64 KiB with packets that are mostly framing', async () => {
    const path = makePath()
    for (let i = 1; i <= 3_000; i++) path.push(ID, packet(i, 20))
    await clock.advance(0)
    expect(Math.max(...sent.map(({ payload }) => payload.length))).toBeLessThan(64 * 1024)
    expect(sent.reduce((sum, { batch }) => sum + batch.packets.length, 0)).toBe(3_000)
  })

  it('has at most four envelopes on their way, and sends the next when one is answered', async () => {
    const path = makePath()
    for (let i = 1; i <= 18; i++) path.push(ID, packet(i, 16_000))
    await clock.advance(0)
    expect(sent).toHaveLength(4)
    sent[0]?.done.resolve()
    await clock.advance(0)
    expect(sent).toHaveLength(5)
  })

  it('keeps to four fifths of the rate of a pair', async () => {
    const path = makePath({ pairMessagesPerSecond: 10, pairMessagesBurst: 5 })
    for (let i = 0; i < 60; i++) {
      path.push(ID, packet(i))
      await clock.advance(50)
      for (const { done } of sent) done.resolve()
      await clock.advance(0)
    }
    // 3 seconds at 8 per second, after a burst of 4.
    expect(sent.length).toBeGreaterThanOrEqual(26)
    expect(sent.length).toBeLessThanOrEqual(28)
    await clock.advance(1_000)
    expect(sent.reduce((sum, { batch }) => sum + batch.packets.length, 0)).toBe(60)
  })

  it('is full with four envelopes queued, and ready again when half of that has left', async () => {
    const path = makePath()
    for (let i = 1; i <= 12; i++) path.push(ID, packet(i, 16_000))
    expect(path.full).toBe(false)
    path.push(ID, packet(13, 16_000))
    expect(path.full).toBe(true)
    await clock.advance(0)
    expect([path.full, ready]).toEqual([false, 1])
  })

  it('stays full while nothing leaves', async () => {
    const path = makePath()
    for (let i = 1; i <= 25; i++) path.push(ID, packet(i, 16_000))
    await clock.advance(0)
    for (let i = 26; i <= 27; i++) path.push(ID, packet(i, 16_000))
    await clock.advance(0)
    expect([path.full, ready]).toEqual([true, 0])
    for (const { done } of [...sent]) done.resolve()
    await clock.advance(0)
    expect([path.full, ready]).toEqual([false, 1])
  })

  it('reports an envelope that failed, and goes on', async () => {
    const path = makePath()
    path.push(ID, packet(1))
    await clock.advance(0)
    sent[0]?.done.reject(new MeshError(ErrorReason.RECIPIENT_ABSENT, 'gone'))
    await clock.advance(0)
    expect(failures.map(({ reason }) => reason)).toEqual([ErrorReason.RECIPIENT_ABSENT])
    path.push(ID, packet(2))
    await clock.advance(0)
    expect(numbers(1)).toEqual([2])
  })

  it('is flushed when everything was answered or refused', async () => {
    const path = makePath()
    await path.flushed()
    path.push(ID, packet(1))
    let flushed = false
    void path.flushed().then(() => {
      flushed = true
    })
    await clock.advance(0)
    expect(flushed).toBe(false)
    sent[0]?.done.reject(new MeshError(ErrorReason.UNREACHABLE, 'lost'))
    await clock.advance(0)
    expect(flushed).toBe(true)
  })

  it('sends and keeps nothing after it closed', async () => {
    const path = makePath()
    for (let i = 1; i <= 20; i++) path.push(ID, packet(i, 16_000))
    await clock.advance(0)
    path.close()
    for (const { done } of [...sent]) done.resolve()
    for (let i = 1; i <= 100; i++) path.push(ID, packet(i, 16_000))
    await clock.advance(1_000)
    expect(sent).toHaveLength(4)
    expect(clock.pending).toBe(0)
  })
})
