import { ErrorReason, MeshError, seededRandom, VirtualClock } from '@mesh/core'
import type { SessionLimits } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { beforeEach, describe, expect, it } from 'vitest'
import { type IdentifiedEnvelope, Outbox, type SendOutcome } from './outbox.ts'

let clock: VirtualClock
let outbox: Outbox

beforeEach(() => {
  clock = new VirtualClock()
  outbox = new Outbox(clock, seededRandom(1))
})

interface Sent {
  readonly result: Promise<SendOutcome | MeshError>
  settled: SendOutcome | MeshError | undefined
}

/** Sends an envelope whose payload is its number, and remembers how it went. */
function send(number: number, options: { bytes?: number; signal?: AbortSignal } = {}): Sent {
  const payload = new Uint8Array(options.bytes ?? 1)
  payload[0] = number
  const none = new Uint8Array(0)
  const outgoing = { to: none, topic: none, ttlMs: 0, payload }
  const sent: Sent = {
    result: outbox.send(outgoing, options.signal).catch((error: MeshError) => error),
    settled: undefined,
  }
  void sent.result.then((outcome) => {
    sent.settled = outcome
  })
  return sent
}

function numbers(batch: readonly IdentifiedEnvelope[]): (number | undefined)[] {
  return batch.map(({ payload }) => payload[0])
}

function refuse(envelope: IdentifiedEnvelope, error: MeshError): void {
  outbox.settle(envelope.id, OutcomeStatus.REFUSED, error.toDetail())
}

function limits(fields: Partial<SessionLimits>): SessionLimits {
  return fields as SessionLimits
}

function slowDown(retryAfterMs: number): MeshError {
  return new MeshError(ErrorReason.LIMIT_EXCEEDED, 'slower', { retryAfterMs })
}

describe('outbox', () => {
  it('hands envelopes out in order, each with an id of its own', () => {
    for (let i = 0; i < 5; i++) send(i)
    const batch = outbox.take()
    expect(numbers(batch)).toEqual([0, 1, 2, 3, 4])
    expect(new Set(batch.map(({ id }) => String(id))).size).toBe(5)
    expect(batch.every(({ id }) => id.length === 16)).toBe(true)
    expect(outbox.take()).toEqual([])
  })

  it.each([
    ['delivered', OutcomeStatus.DELIVERED],
    ['held', OutcomeStatus.HELD],
  ] as const)('resolves with "%s" when the server says so', async (outcome, status) => {
    const sent = send(1)
    const [envelope] = outbox.take()
    outbox.settle(envelope!.id, status, undefined)
    expect(await sent.result).toBe(outcome)
    expect(outbox.length).toBe(0)
  })

  it('takes a duplicate for delivered: only the outcome of the first try was lost', async () => {
    const sent = send(1)
    refuse(outbox.take()[0]!, new MeshError(ErrorReason.DUPLICATE, 'seen'))
    expect(await sent.result).toBe('delivered')
  })

  it('rejects with the reason of a refusal, and with INTERNAL when there is none', async () => {
    const absent = send(1)
    refuse(outbox.take()[0]!, new MeshError(ErrorReason.RECIPIENT_ABSENT, 'gone'))
    expect(await absent.result).toMatchObject({ reason: ErrorReason.RECIPIENT_ABSENT })
    const silent = send(2)
    outbox.settle(outbox.take()[0]!.id, OutcomeStatus.REFUSED, undefined)
    expect(await silent.result).toMatchObject({ reason: ErrorReason.INTERNAL })
  })

  it('ignores outcomes of envelopes it does not know, and second ones', async () => {
    const sent = send(1)
    outbox.settle(new Uint8Array(16), OutcomeStatus.DELIVERED, undefined)
    expect(sent.settled).toBeUndefined()
    const [envelope] = outbox.take()
    outbox.settle(envelope!.id, OutcomeStatus.HELD, undefined)
    outbox.settle(envelope!.id, OutcomeStatus.DELIVERED, undefined)
    expect(await sent.result).toBe('held')
  })

  it('sends again with the same id, after the time the server asked for', async () => {
    send(1)
    const [first] = outbox.take()
    refuse(first!, slowDown(400))
    expect(outbox.take()).toEqual([])
    await clock.advance(399)
    expect(outbox.take()).toEqual([])
    await clock.advance(1)
    expect(outbox.take()).toEqual([first])
  })

  it('lets later envelopes pass one that has to wait', async () => {
    send(1)
    refuse(outbox.take()[0]!, slowDown(400))
    send(2)
    expect(numbers(outbox.take())).toEqual([2])
  })

  it('does not send again what a limit refuses for good, or only after its time is up', async () => {
    const tooLarge = send(1)
    refuse(outbox.take()[0]!, new MeshError(ErrorReason.LIMIT_EXCEEDED, 'too large', { limit: 'max_message_bytes' }))
    expect(await tooLarge.result).toMatchObject({ limit: 'max_message_bytes' })
    const tooLate = send(2)
    refuse(outbox.take()[0]!, slowDown(30_000))
    expect(await tooLate.result).toMatchObject({ reason: ErrorReason.LIMIT_EXCEEDED, retryAfterMs: 30_000 })
  })

  it('sends what was in flight first, with the same ids, when the stream broke', () => {
    send(1)
    send(2)
    const before = outbox.take()
    send(3)
    outbox.restart()
    const after = outbox.take()
    expect(numbers(after)).toEqual([1, 2, 3])
    expect(after.slice(0, 2)).toEqual(before)
  })

  it('gives an envelope up after 30 s, waiting or in flight', async () => {
    const inFlight = send(1)
    outbox.take()
    const waiting = send(2)
    await clock.advance(29_999)
    outbox.expire()
    const young = send(3)
    expect([inFlight.settled, waiting.settled]).toEqual([undefined, undefined])
    await clock.advance(1)
    outbox.expire()
    for (const { result } of [inFlight, waiting]) {
      expect(await result).toMatchObject({ reason: ErrorReason.UNREACHABLE, retryable: true })
    }
    expect(young.settled).toBeUndefined()
    expect(numbers(outbox.take())).toEqual([3])
  })

  it('refuses the 513th envelope, and takes another when one is settled', async () => {
    for (let i = 0; i < 512; i++) send(i)
    const refused = await send(0).result
    expect(refused).toMatchObject({ limit: 'outbox_envelopes', limitValue: 512n, value: 513n, retryable: true })
    outbox.settle(outbox.take()[0]!.id, OutcomeStatus.DELIVERED, undefined)
    expect(send(0).settled).toBeUndefined()
    expect(outbox.length).toBe(512)
  })

  it('refuses what exceeds 4 MiB in total', async () => {
    for (let i = 0; i < 64; i++) send(i, { bytes: 64 * 1024 })
    const refused = await send(0).result
    expect(refused).toMatchObject({ limit: 'outbox_bytes', limitValue: 4_194_304n, value: 4_194_305n })
  })

  it('counts bytes down again, however an envelope ends', async () => {
    const controller = new AbortController()
    for (let i = 0; i < 64; i++) send(i, { bytes: 64 * 1024, signal: controller.signal })
    controller.abort()
    expect(outbox.length).toBe(0)
    for (let i = 0; i < 64; i++) send(i, { bytes: 64 * 1024 })
    expect(outbox.length).toBe(64)
  })

  it('forgets an envelope that is aborted, waiting or in flight', async () => {
    const controller = new AbortController()
    const inFlight = send(1, { signal: controller.signal })
    const [taken] = outbox.take()
    const waiting = send(2, { signal: controller.signal })
    controller.abort()
    expect(await inFlight.result).toMatchObject({ reason: ErrorReason.ABORTED })
    expect(await waiting.result).toMatchObject({ reason: ErrorReason.ABORTED })
    outbox.settle(taken!.id, OutcomeStatus.DELIVERED, undefined)
    expect(outbox.take()).toEqual([])
    expect(await send(3, { signal: AbortSignal.abort() }).result).toMatchObject({ reason: ErrorReason.ABORTED })
    expect(outbox.length).toBe(0)
  })

  it('keeps to 64 envelopes and the request size of the session in one batch', () => {
    for (let i = 0; i < 70; i++) send(i)
    expect(outbox.take()).toHaveLength(64)
    expect(outbox.take()).toHaveLength(6)
    outbox.configure(limits({ maxRequestBytes: 11_024 }))
    for (let i = 0; i < 3; i++) send(i, { bytes: 4_000 })
    send(9, { bytes: 60_000 })
    expect(numbers(outbox.take())).toEqual([0, 1])
    expect(numbers(outbox.take())).toEqual([2])
    // Larger than a batch should be: alone, and the server decides.
    expect(numbers(outbox.take())).toEqual([9])
    outbox.configure(undefined)
    for (let i = 0; i < 4; i++) send(i, { bytes: 4_000 })
    expect(outbox.take()).toHaveLength(4)
  })

  it('keeps a little below the message rate of the session', async () => {
    outbox.configure(limits({ messagesPerSecond: 10, messagesBurst: 3 }))
    for (let i = 0; i < 8; i++) send(i)
    expect(numbers(outbox.take())).toEqual([0, 1, 2])
    expect(outbox.take()).toEqual([])
    await clock.advance(104)
    expect(numbers(outbox.take())).toEqual([3])
    await clock.advance(310)
    expect(numbers(outbox.take())).toEqual([4, 5, 6])
  })

  it('is ready when there is something to take: at once, after the rate, or when something is sent', async () => {
    outbox.configure(limits({ messagesPerSecond: 10, messagesBurst: 1 }))
    const { signal } = new AbortController()
    let readyAtMs = -1
    const watch = () =>
      outbox.ready(signal).then(() => {
        readyAtMs = clock.monotonicMs()
      })
    const first = watch()
    await clock.advance(50)
    expect(readyAtMs).toBe(-1)
    send(1)
    await first
    expect(readyAtMs).toBe(50)
    outbox.take()
    send(2)
    const second = watch()
    await clock.advance(200)
    await second
    expect(readyAtMs).toBe(154)
    expect(clock.pending).toBe(0)
  })

  it('wakes everybody who waits for something to take', async () => {
    const { signal } = new AbortController()
    const waiting = [outbox.ready(signal), outbox.ready(signal)]
    send(1)
    await Promise.all(waiting)
  })

  it('stops waiting when aborted, and leaves no timer', async () => {
    outbox.configure(limits({ messagesPerSecond: 1, messagesBurst: 1 }))
    send(1)
    outbox.take()
    send(2)
    const controller = new AbortController()
    const ready = outbox.ready(controller.signal)
    controller.abort()
    await expect(ready).rejects.toMatchObject({ reason: ErrorReason.ABORTED })
    expect(clock.pending).toBe(0)
  })

  it('fails everything when closed, and everything after', async () => {
    const error = new MeshError(ErrorReason.SESSION_CLOSED, 'closed')
    const inFlight = send(1)
    outbox.take()
    const waiting = send(2)
    outbox.close(error)
    expect([await inFlight.result, await waiting.result, await send(3).result]).toEqual([error, error, error])
    expect(outbox.length).toBe(0)
  })
})
