import { create } from '@bufbuild/protobuf'
import { VirtualClock } from '@mesh/core'
import { type Event, EventSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { beforeEach, describe, expect, it } from 'vitest'
import { Acknowledgements } from './acknowledgements.ts'

let clock: VirtualClock
let due: number
let acknowledgements: Acknowledgements

beforeEach(() => {
  clock = new VirtualClock()
  due = 0
  acknowledgements = new Acknowledgements(clock, 5n, () => due++)
})

function message(cursor: bigint, bytes = 10): Event {
  return create(EventSchema, { cursor, event: { case: 'message', value: { payload: new Uint8Array(bytes) } } })
}

function heartbeat(cursor: bigint): Event {
  return create(EventSchema, { cursor, event: { case: 'heartbeat', value: {} } })
}

describe('acknowledgements', () => {
  it('fall due a second after the first event that is not acknowledged', async () => {
    acknowledgements.handled([message(6n)])
    await clock.advance(500)
    acknowledgements.handled([message(7n)])
    await clock.advance(499)
    expect([due, acknowledgements.due]).toEqual([0, false])
    await clock.advance(1)
    expect([due, acknowledgements.due]).toEqual([1, true])
    expect(acknowledgements.take()).toBe(7n)
    expect(acknowledgements.due).toBe(false)
    await clock.advance(10_000)
    expect(due).toBe(1)
  })

  it('fall due at once when the events fill 64 KiB', () => {
    acknowledgements.handled([message(6n, 40_000)])
    expect(due).toBe(0)
    acknowledgements.handled([message(7n, 30_000)])
    acknowledgements.handled([message(8n, 30_000)])
    expect(due).toBe(1)
    expect(acknowledgements.take()).toBe(8n)
  })

  it('stay quiet when nothing but heartbeats comes, and when envelopes carried the position already', async () => {
    acknowledgements.handled([heartbeat(5n)])
    acknowledgements.handled([message(6n)])
    expect(acknowledgements.take()).toBe(6n)
    acknowledgements.handled([heartbeat(6n)])
    await clock.advance(10_000)
    expect(due).toBe(0)
    expect(clock.pending).toBe(0)
  })

  it('hold no timer after the stream ended', async () => {
    acknowledgements.handled([message(6n)])
    acknowledgements.stop()
    expect(clock.pending).toBe(0)
  })
})
