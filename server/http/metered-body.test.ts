import { ErrorReason, type MeshError, VirtualClock } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { resolveLimits } from '../limits/server-limits.ts'
import { BodyMeter, type MeterOptions, meterBody } from './metered-body.ts'

const limits = resolveLimits({ maxRequestBytes: 100, http2BodyMs: 1_000 })

function options(overrides: Partial<MeterOptions> = {}): MeterOptions & { clock: VirtualClock } {
  const clock = new VirtualClock()
  return { limits, framed: false, endless: false, declaredBytes: undefined, ...overrides, clock }
}

function framed(length: number): Uint8Array {
  const bytes = new Uint8Array(5 + length)
  new DataView(bytes.buffer).setUint32(1, length)
  return bytes
}

const tooLarge = expect.objectContaining({
  reason: ErrorReason.LIMIT_EXCEEDED,
  limit: 'max_request_bytes',
}) as MeshError

describe('the size of a body', () => {
  test('is refused by what it declares, before anything is read', () => {
    expect(() => new BodyMeter(options({ declaredBytes: 100 })).start()).not.toThrow()
    expect(() => new BodyMeter(options({ declaredBytes: 101 })).start()).toThrowError(tooLarge)
  })

  test('is refused by what comes, in however many pieces', () => {
    const meter = new BodyMeter(options())
    for (let i = 0; i < 100; i++) meter.count(new Uint8Array(1))
    expect(() => meter.count(new Uint8Array(1))).toThrowError(tooLarge)
  })

  test('is refused by the prefix of a message, before the message comes', () => {
    const meter = new BodyMeter(options({ framed: true, endless: true }))
    expect(() => meter.count(framed(101).subarray(0, 5))).toThrowError(tooLarge)
  })

  test('is counted per message when many may come', () => {
    const meter = new BodyMeter(options({ framed: true, endless: true }))
    for (let i = 0; i < 50; i++) for (const byte of framed(100)) meter.count(Uint8Array.of(byte))
    meter.count(framed(0))
  })

  test('does not count the prefix of a single message', () => {
    expect(() => new BodyMeter(options({ framed: true, declaredBytes: 105 })).start()).not.toThrow()
    expect(() => new BodyMeter(options({ framed: true, declaredBytes: 106 })).start()).toThrowError(tooLarge)
  })
})

describe('the time of a body', () => {
  test('runs from its start and is not extended by trickling', async () => {
    const { clock, ...rest } = options()
    let violated = false
    const trickle = (async function* () {
      for (;;) {
        yield new Uint8Array(1)
        await new Promise<void>((resolve) => clock.schedule(300, resolve))
      }
    })()
    const reading = (async () => {
      for await (const _ of meterBody(trickle, { clock, ...rest }, () => {
        violated = true
      }))
        void _
    })()
    const refused = expect(reading).rejects.toMatchObject({
      reason: ErrorReason.DEADLINE_EXCEEDED,
      limit: 'http2_body_ms',
    })
    await clock.advance(999)
    expect(violated).toBe(false)
    await clock.advance(1)
    await refused
    expect(violated).toBe(true)
  })

  test('of an endless body runs only until the first message, and while one has begun', async () => {
    const { clock, ...rest } = options({ framed: true, endless: true })
    const meter = new BodyMeter({ clock, ...rest })
    expect(meter.deadlineMs).toBe(clock.monotonicMs() + 1_000)
    meter.count(framed(10))
    expect(meter.deadlineMs).toBeUndefined()
    await clock.advance(50_000)
    meter.count(framed(10).subarray(0, 7))
    expect(meter.deadlineMs).toBe(clock.monotonicMs() + 1_000)
    meter.count(framed(10).subarray(7))
    expect(meter.deadlineMs).toBeUndefined()
  })
})

describe('the body of a neighbour', () => {
  const proving = (): { options: ReturnType<typeof options>; prove: () => void } => {
    let isNeighbour = false
    const between = resolveLimits({ maxRequestBytes: 100, federationMaxRequestBytes: 1_000, http2BodyMs: 1_000 })
    const made = options({ limits: between, framed: true, endless: true, isNeighbour: () => isNeighbour })
    return {
      options: made,
      prove: () => {
        isNeighbour = true
      },
    }
  }

  test('has larger messages once it proved itself, up to their own limit', () => {
    const { options: metered, prove } = proving()
    const meter = new BodyMeter(metered)
    expect(() => new BodyMeter(metered).count(framed(101))).toThrowError(tooLarge)
    meter.count(framed(100))
    prove()
    meter.count(framed(1_000))
    const above = expect.objectContaining({ limit: 'federation_max_request_bytes', limitValue: 1_000n, value: 1_001n })
    expect(() => meter.count(framed(1_001))).toThrowError(above as Error)
  })

  test('may take its time on a slow line then, and not before', async () => {
    const { options: metered, prove } = proving()
    const meter = new BodyMeter(metered)
    meter.count(framed(50).subarray(0, 20))
    expect(meter.deadlineMs).toBe(1_000)
    prove()
    expect(meter.deadlineMs).toBeUndefined()
  })
})
