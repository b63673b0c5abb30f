import type { Channel, Peer, Swarm } from '@mesh/client'
import { ErrorReason, MeshError, VirtualClock } from '@mesh/core'
import { beforeEach, describe, expect, test } from 'vitest'
import { channelPair } from './channel-pair.fixture.ts'
import { Delivery, type DeliveryEvent } from './delivery.ts'
import { FileChannel } from './file-channel.ts'
import { receiveContent, receiveOffer, refuseOffer } from './receive-file.ts'
import type { FileSource } from './send-file.ts'

const never = new AbortController().signal
const patience = { timeoutMs: 60_000, signal: never }
const file = {
  name: 'a.txt',
  sizeBytes: 3,
  async *chunks() {
    yield Uint8Array.of(1, 2, 3)
  },
}

/** A swarm of peers whose channels the test answers. */
class FakeSwarm {
  readonly peers = new Map<string, Peer>()
  readonly channels = new Map<string, Channel[]>()
  readonly #joins = new Set<(peer: Peer) => void>()

  on(name: string, listener: (peer: never) => void): () => void {
    if (name !== 'join') return () => {}
    this.#joins.add(listener as (peer: Peer) => void)
    return () => this.#joins.delete(listener as (peer: Peer) => void)
  }

  add(id: string): void {
    const open = async (): Promise<Channel> => {
      const [near, far] = channelPair('mesh/file')
      this.channels.set(id, [...(this.channels.get(id) ?? []), far])
      return near
    }
    const peer = { id, open } as unknown as Peer
    this.peers.set(id, peer)
    for (const listener of this.#joins) listener(peer)
  }

  /** The receiving end of the newest offer to a peer. */
  receiver(id: string): FileChannel {
    const channel = this.channels.get(id)?.at(-1)
    if (!channel) throw new Error(`${id} has no offer`)
    return new FileChannel(channel, clock)
  }
}

let clock: VirtualClock
let swarm: FakeSwarm
let events: string[]

beforeEach(() => {
  clock = new VirtualClock()
  swarm = new FakeSwarm()
  events = []
})

function deliver(to: readonly string[] = [], signal: AbortSignal = never, source: FileSource = file) {
  const onEvent = (event: DeliveryEvent): void => {
    events.push(`${event.kind} ${event.peer.id}`)
  }
  const delivery = new Delivery({ swarm: swarm as unknown as Swarm, file: source, to, clock, signal, onEvent })
  return { delivery, running: delivery.run() }
}

async function accept(id: string): Promise<void> {
  const channel = swarm.receiver(id)
  const offer = await receiveOffer(channel, patience)
  const sink = { write: async () => {}, keep: async () => 'there', discard: async () => {} }
  await receiveContent(channel, offer, sink, { signal: never, onProgress: () => {} })
}

async function decline(id: string): Promise<void> {
  const channel = swarm.receiver(id)
  await receiveOffer(channel, patience)
  await refuseOffer(channel, 'declined')
}

describe('a delivery to anybody', () => {
  test('goes to the first that accepts, and takes the other offers back', async () => {
    swarm.add('a')
    swarm.add('b')
    const { running } = deliver()
    await clock.advance(0)
    await accept('b')
    await running
    expect(events).toEqual(['offered a', 'offered b', 'accepted b', 'progress b', 'sent b'])
    expect((await swarm.channels.get('a')?.[0]?.closed)?.reason).toBe(ErrorReason.ABORTED)
  })

  test('goes on asking after a refusal, those included that join later', async () => {
    swarm.add('a')
    const { running } = deliver()
    await clock.advance(0)
    await decline('a')
    swarm.add('b')
    await clock.advance(0)
    await accept('b')
    await running
    expect(events.filter((event) => !event.startsWith('progress'))).toEqual([
      'offered a',
      'refused a',
      'offered b',
      'accepted b',
      'sent b',
    ])
  })

  test('ends without a receiver when told to stop asking', async () => {
    swarm.add('a')
    const { delivery, running } = deliver()
    await clock.advance(0)
    delivery.stopAsking()
    await running
    expect(events).toEqual(['offered a'])
  })

  test('is offered again when the offer was lost with the link', async () => {
    swarm.add('a')
    const { running } = deliver()
    await clock.advance(0)
    swarm.channels.get('a')?.[0]?.abort(new MeshError(ErrorReason.LINK_CLOSED, 'lost'))
    await clock.advance(1_000)
    await accept('a')
    await running
    expect(events.at(-1)).toBe('sent a')
  })
})

describe('a delivery to named peers', () => {
  test('reaches each of them and nobody else', async () => {
    swarm.add('a')
    swarm.add('stranger')
    const { delivery, running } = deliver(['a', 'b'])
    await clock.advance(0)
    await accept('a')
    expect(delivery.missing).toEqual(['b'])
    swarm.add('b')
    await clock.advance(0)
    await accept('b')
    await running
    expect(swarm.channels.has('stranger')).toBe(false)
    expect(events.filter((event) => event.startsWith('sent'))).toEqual(['sent a', 'sent b'])
  })

  test('counts one that refuses, or that takes no files, as done', async () => {
    swarm.add('a')
    swarm.add('b')
    const { running } = deliver(['a', 'b'])
    await clock.advance(0)
    await decline('a')
    swarm.channels.get('b')?.[0]?.abort(new MeshError(ErrorReason.CHANNEL_CLOSED, 'nothing here takes it'))
    await running
    expect(events).toEqual(['offered a', 'offered b', 'refused a', 'refused b'])
  })

  test('finishes what runs when told to stop asking', async () => {
    swarm.add('a')
    const gate = Promise.withResolvers<void>()
    const slow: FileSource = {
      ...file,
      async *chunks() {
        await gate.promise
        yield* file.chunks()
      },
    }
    const { delivery, running } = deliver(['a', 'absent'], never, slow)
    await clock.advance(0)
    const accepting = accept('a')
    await clock.advance(0)
    expect(events.at(-1)).toBe('accepted a')
    delivery.stopAsking()
    gate.resolve()
    await accepting
    await running
    expect(events.at(-1)).toBe('sent a')
    expect(delivery.missing).toEqual(['absent'])
  })

  test('reports a transfer that broke', async () => {
    swarm.add('a')
    const { running } = deliver(['a'])
    await clock.advance(0)
    const channel = swarm.receiver('a')
    await receiveOffer(channel, patience)
    await channel.send({ case: 'answer', value: { verdict: 1 } })
    channel.abort(new MeshError(ErrorReason.INTERNAL, 'disk on fire'))
    await running
    expect(events.at(-1)).toBe('failed a')
  })
})

test('an interrupted delivery rejects with the reason and ends its channels', async () => {
  swarm.add('a')
  const stop = new AbortController()
  const { running } = deliver([], stop.signal)
  await clock.advance(0)
  const reason = new Error('interrupted')
  stop.abort(reason)
  await expect(running).rejects.toBe(reason)
  expect(await swarm.channels.get('a')?.[0]?.closed).toBeDefined()
})
