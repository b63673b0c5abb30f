import { ErrorReason, MeshError } from '@mesh/core'
import { beforeEach, describe, expect, it } from 'vitest'
import { type Carrier, FanOut } from './fan-out.ts'
import type { IdentifiedEnvelope, SendOutcome } from './outbox.ts'

const NONE = new Uint8Array(0)
const ENVELOPE: IdentifiedEnvelope = { id: NONE, to: NONE, topic: NONE, ttlMs: 0, payload: NONE }

/** A server that answers when the test says so. */
class FakeCarrier implements Carrier {
  readonly copies: PromiseWithResolvers<SendOutcome>[] = []
  takenBack = 0
  isUp = true

  send(_envelope: IdentifiedEnvelope, signal: AbortSignal): Promise<SendOutcome> {
    const copy = Promise.withResolvers<SendOutcome>()
    this.copies.push(copy)
    signal.addEventListener('abort', () => {
      this.takenBack++
      copy.reject(new MeshError(ErrorReason.ABORTED, 'taken back'))
    })
    return copy.promise
  }

  answer(outcome: SendOutcome | ErrorReason): void {
    const copy = this.copies.at(-1) as PromiseWithResolvers<SendOutcome>
    if (typeof outcome === 'string') copy.resolve(outcome)
    else copy.reject(new MeshError(outcome, 'refused'))
  }
}

let fanOut: FanOut
let a: FakeCarrier
let b: FakeCarrier

beforeEach(() => {
  fanOut = new FanOut()
  a = new FakeCarrier()
  b = new FakeCarrier()
})

const settle = () => new Promise((resolve) => setImmediate(resolve))
const isUp = (carrier: Carrier) => (carrier as FakeCarrier).isUp

describe('fan-out', () => {
  it('resolves with the first delivery and takes the other copies back', async () => {
    const sent = fanOut.send(ENVELOPE, [a, b])
    expect(fanOut.pending).toBe(1)
    b.answer('delivered')
    expect(await sent).toBe('delivered')
    expect([a.takenBack, b.takenBack, fanOut.pending]).toEqual([1, 0, 0])
  })

  it('resolves when a server holds it, and lets the others go on', async () => {
    const sent = fanOut.send(ENVELOPE, [a, b])
    a.answer('held')
    expect(await sent).toBe('held')
    expect([b.takenBack, fanOut.pending]).toEqual([0, 1])
    b.answer(ErrorReason.RECIPIENT_ABSENT)
    await settle()
    expect(fanOut.pending).toBe(0)
  })

  it('resolves although one server refuses it', async () => {
    const sent = fanOut.send(ENVELOPE, [a, b])
    a.answer(ErrorReason.NOT_MEMBER)
    await settle()
    b.answer('delivered')
    expect(await sent).toBe('delivered')
  })

  it('rejects when all refuse, with what says most', async () => {
    const sent = fanOut.send(ENVELOPE, [a, b])
    a.answer(ErrorReason.UNREACHABLE)
    b.answer(ErrorReason.RECIPIENT_ABSENT)
    await expect(sent).rejects.toMatchObject({ reasonName: 'RECIPIENT_ABSENT' })
    expect(fanOut.pending).toBe(0)
  })

  it('leaves what a server that went down did not answer to the others', async () => {
    const sent = fanOut.send(ENVELOPE, [a, b])
    a.answer(ErrorReason.NOT_MEMBER)
    await settle()
    fanOut.down(b)
    await expect(sent).rejects.toMatchObject({ reasonName: 'NOT_MEMBER' })
    expect(b.takenBack).toBe(1)
    fanOut.down(a)
  })

  it('sends what waits only for servers that are down through the next one that comes up, once', async () => {
    a.isUp = false
    const waiting = fanOut.send(ENVELOPE, [a])
    const under = fanOut.send(ENVELOPE, [b])
    fanOut.up(b, isUp)
    expect(b.copies).toHaveLength(2)
    fanOut.up(b, isUp)
    expect(b.copies).toHaveLength(2)
    for (const copy of b.copies) copy.resolve('delivered')
    expect(await Promise.all([waiting, under])).toEqual(['delivered', 'delivered'])
    expect(a.takenBack).toBe(1)
  })
})
