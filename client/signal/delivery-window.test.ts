import { create } from '@bufbuild/protobuf'
import { type Envelope, EnvelopeSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, it } from 'vitest'
import { DeliveryWindow } from './delivery-window.ts'

function envelope(number: number, options: { from?: number; payload?: Uint8Array } = {}): Envelope {
  const id = new Uint8Array(16)
  new DataView(id.buffer).setUint32(0, number)
  const payload = options.payload ?? Uint8Array.of(number)
  return create(EnvelopeSchema, { id, from: new Uint8Array(32).fill(options.from ?? 1), payload })
}

describe('delivery window', () => {
  it('recognises an envelope that comes a second time', () => {
    const window = new DeliveryWindow()
    expect(window.isRepeated(envelope(1))).toBe(false)
    expect(window.isRepeated(envelope(2))).toBe(false)
    expect(window.isRepeated(envelope(1))).toBe(true)
  })

  it('takes nobody’s word for the id: sender and payload must agree too', () => {
    const window = new DeliveryWindow()
    expect(window.isRepeated(envelope(1, { payload: Uint8Array.of(66) }))).toBe(false)
    expect(window.isRepeated(envelope(1))).toBe(false)
    expect(window.isRepeated(envelope(1, { from: 2 }))).toBe(false)
  })

  it('forgets the oldest of more than 1,024 envelopes, or of more than 1 MiB', () => {
    const window = new DeliveryWindow()
    for (let i = 0; i < 1_025; i++) window.isRepeated(envelope(i))
    expect(window.isRepeated(envelope(1))).toBe(true)
    expect(window.isRepeated(envelope(0))).toBe(false)
    const large = new DeliveryWindow()
    for (let i = 0; i < 17; i++) large.isRepeated(envelope(i, { payload: new Uint8Array(65_536) }))
    expect(large.isRepeated(envelope(1, { payload: new Uint8Array(65_536) }))).toBe(true)
    expect(large.isRepeated(envelope(0, { payload: new Uint8Array(65_536) }))).toBe(false)
  })
})
