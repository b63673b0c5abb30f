import { create } from '@bufbuild/protobuf'
import { ErrorReason, MeshError, VirtualClock } from '@mesh/core'
import { Channel, type Frame, FrameSchema } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { describe, expect, test } from 'vitest'
import type { StreamEvents, TrunkStream } from '../backplane/federation/trunk/trunk.ts'
import { MemoryNetwork, type MemoryNetworkOptions } from './memory-trunk.ts'

const credit = (frames: number): Frame => create(FrameSchema, { frame: { case: 'credit', value: { frames } } })

class Side implements StreamEvents {
  readonly got: number[] = []
  readonly closed: (ErrorReason | undefined)[] = []
  drains = 0
  onFrames(frames: readonly Frame[]): void {
    for (const { frame } of frames) if (frame.case === 'credit') this.got.push(frame.value.frames)
  }
  onDrain(): void {
    this.drains += 1
  }
  onClose(error: MeshError | undefined): void {
    this.closed.push(error?.reason)
  }
}

/** A stream from a to b, open. */
async function connected(options: Omit<MemoryNetworkOptions, 'clock'> = {}) {
  const clock = new VirtualClock()
  const network = new MemoryNetwork({ clock, ...options })
  const a = new Side()
  const b = new Side()
  let atB: TrunkStream | undefined
  network.trunk('b').onStream((stream) => {
    atB = stream
    return b
  })
  const atA = network.trunk('a').dial({ key: new Uint8Array(32), url: 'b' }, Channel.DIRECTORY, a)
  await clock.advance(10)
  return { clock, network, a, b, atA, atB: atB as unknown as TrunkStream }
}

describe('the memory network', () => {
  test('delivers what is written before a close, in order, both ways, and each close once', async () => {
    const { clock, a, b, atA, atB } = await connected()
    atA.write([credit(1), credit(2)])
    atA.write([credit(3)])
    atB.write([credit(9)])
    atA.close(new MeshError(ErrorReason.DRAINING, 'bye'))
    await clock.advance(10)
    expect(b.got).toEqual([1, 2, 3])
    expect(a.got).toEqual([])
    expect([a.closed, b.closed]).toEqual([[undefined], [ErrorReason.DRAINING]])
  })

  test('fails a call when nobody listens', async () => {
    const clock = new VirtualClock()
    const side = new Side()
    new MemoryNetwork({ clock }).trunk('a').dial({ key: new Uint8Array(32), url: 'b' }, Channel.DIRECTORY, side)
    expect(side.closed).toEqual([])
    await clock.advance(10)
    expect(side.closed).toEqual([ErrorReason.UNREACHABLE])
  })

  test('says when its window is full, and when there is room again', async () => {
    const { clock, a, atA } = await connected({ windowMessages: 2 })
    expect([atA.write([credit(1)]), atA.write([credit(2)])]).toEqual([true, false])
    await clock.advance(10)
    expect(a.drains).toBe(1)
  })

  test('holds what goes in a blocked direction, and delivers it when that ends in time', async () => {
    const { clock, network, b, a, atA, atB } = await connected()
    network.block('a', 'b')
    atA.write([credit(1)])
    atB.write([credit(2)])
    await clock.advance(3_000)
    expect([b.got, a.got]).toEqual([[], [2]])
    network.unblock('a', 'b')
    await clock.advance(4_000)
    expect([b.got, b.closed, a.closed]).toEqual([[1], [], []])
  })

  test('ends both sides of a stream that stays blocked', async () => {
    const { clock, network, a, b } = await connected()
    network.block('a', 'b')
    await clock.advance(4_000)
    expect([a.closed, b.closed]).toEqual([[ErrorReason.UNREACHABLE], [ErrorReason.UNREACHABLE]])
  })

  test('tells nobody of a crash until the pings go unanswered, or the server starts again', async () => {
    const { clock, network, a, b } = await connected()
    network.crash('b')
    await clock.advance(3_999)
    expect(a.closed).toEqual([])
    await clock.advance(1)
    expect([a.closed, b.closed]).toEqual([[ErrorReason.UNREACHABLE], []])
    const again = await connected()
    again.network.trunk('b')
    await again.clock.advance(10)
    expect([again.a.closed, again.b.closed]).toEqual([[ErrorReason.UNREACHABLE], []])
  })

  test('breaks streams at both ends when they are reset', async () => {
    const { clock, network, a, b, atA } = await connected()
    atA.write([credit(1)])
    network.reset('a', 'b')
    await clock.advance(10)
    expect([a.closed, b.closed, b.got]).toEqual([[ErrorReason.UNREACHABLE], [ErrorReason.UNREACHABLE], []])
    expect(network.inFlight).toBe(0)
  })
})
