import { fromBinary } from '@bufbuild/protobuf'
import { deriveLinkKeys, ErrorReason, type LinkKeys, MeshError, utf8Encode, type VirtualClock } from '@mesh/core'
import { ChannelKind } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { type Packet, PeerPayloadSchema, type RelayedPackets } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import { beforeEach, describe, expect, it } from 'vitest'
import type { LinkChannel } from '../link/index.ts'
import { restingClock } from '../testing/at-rest.fixture.ts'
import { FakeChannel } from './fake-rtc.fixture.ts'
import type { Generation } from './generations.ts'
import { OpenLink } from './open-link.ts'

const TOPIC = new Uint8Array(32).fill(1)
let clock: VirtualClock
let lower: End
let higher: End

/** One end of a link. What it sends waits in `outbox` until `deliver`. */
interface End {
  readonly open: OpenLink
  readonly outbox: RelayedPackets[]
  readonly texts: string[]
  readonly log: string[]
}

function connection(number: number): Uint8Array {
  return new Uint8Array(16).fill(number)
}

async function generation(number: number, role: 'lower' | 'higher'): Promise<Generation> {
  const keys: LinkKeys = await deriveLinkKeys({
    exportHello: new Uint8Array(32).fill(number),
    exportHelloReply: new Uint8Array(32).fill(number),
    connectionId: connection(number),
    topic: TOPIC,
    lowerKey: new Uint8Array(32).fill(1),
    higherKey: new Uint8Array(32).fill(2),
    lowerSessionId: new Uint8Array(16).fill(1),
    higherSessionId: new Uint8Array(16).fill(2),
    role,
  })
  return { connectionId: connection(number), keys }
}

async function makeEnd(role: 'lower' | 'higher'): Promise<End> {
  const outbox: RelayedPackets[] = []
  const texts: string[] = []
  const log: string[] = []
  const open = new OpenLink({
    clock,
    role,
    ...(await generation(1, role)),
    limits: undefined,
    sendRelay: async (payload) => {
      outbox.push(fromBinary(PeerPayloadSchema, payload).payload.value as RelayedPackets)
    },
    onRelayFailure: (error) => log.push(`failed ${error.reasonName}`),
    effects: {
      control: () => {},
      channel: (channel) => channel.onMessage((bytes) => void texts.push(new TextDecoder().decode(bytes))),
      pathChanged: (path) => log.push(`path ${path}`),
      directDead: (error: MeshError) => log.push(`dead ${error.reasonName}`),
      closed: (error) => log.push(`closed ${error.reasonName}`),
    },
  })
  open.link.setPath('relay', { usable: true })
  return { open, outbox, texts, log }
}

beforeEach(async () => {
  clock = restingClock()
  lower = await makeEnd('lower')
  higher = await makeEnd('higher')
})

/** Hands over what both ends sent, until they have nothing more to say. Gives the connections packets came under. */
async function deliver(change: (packets: Packet[]) => Packet[] = (packets) => packets): Promise<Set<number>> {
  const seen = new Set<number>()
  for (let quiet = 0; quiet < 3; quiet++) {
    await clock.advance(50)
    for (const [from, to] of [
      [lower, higher],
      [higher, lower],
    ] as const) {
      for (const { connectionId, packets } of from.outbox.splice(0)) {
        seen.add(connectionId[0] as number)
        quiet = -1
        to.open.receiveRelayed(connectionId, change(packets))
      }
    }
  }
  return seen
}

function channelOf({ open }: End, kind: ChannelKind = ChannelKind.MESSAGES): LinkChannel {
  return open.link.openChannel({ topic: TOPIC, name: '', kind })
}

function openChannel(): FakeChannel {
  const channel = new FakeChannel()
  channel.readyState = 'open'
  return channel
}

function say(channel: LinkChannel, text: string): void {
  channel.sendMessage(new TextEncoder().encode(text)).catch(() => undefined)
}

describe('open link', () => {
  it('carries frames sealed, and counts them', async () => {
    say(channelOf(lower), 'hello')
    await clock.advance(10)
    const [batch] = lower.outbox
    const plain = Buffer.from(batch?.packets[0]?.sealed ?? []).includes('hello')
    expect(plain).toBe(false)
    await deliver()
    expect(higher.texts).toEqual(['hello'])
    expect(lower.open.counts.sent).toBeGreaterThan(0)
    expect(higher.open.counts).toMatchObject({ replayed: 0, rejected: 0 })
    expect(lower.open.sealed).toBeGreaterThan(1n)
  })

  it('counts packets that come twice, and hands them over once', async () => {
    say(channelOf(lower), 'once')
    await deliver((packets) => [...packets, ...packets])
    expect(higher.texts).toEqual(['once'])
    expect(higher.open.counts.replayed).toBeGreaterThan(0)
    expect(higher.open.counts.rejected).toBe(0)
  })

  it('counts altered packets, and sends again what they were', async () => {
    say(channelOf(lower), 'whole')
    let altered = 0
    await deliver((packets) =>
      packets.map((packet) => {
        if (altered++ > 0) return packet
        return { ...packet, sealed: packet.sealed.with(0, (packet.sealed[0] as number) ^ 1) }
      }),
    )
    await clock.advance(5_000)
    await deliver()
    expect(higher.texts).toEqual(['whole'])
    expect(higher.open.counts.rejected).toBe(1)
  })

  it('ignores packets of a connection it does not know', async () => {
    say(channelOf(lower), 'lost')
    await clock.advance(10)
    for (const { packets } of lower.outbox.splice(0)) higher.open.receiveRelayed(connection(9), packets)
    await clock.advance(10)
    expect(higher.texts).toEqual([])
    expect(higher.open.counts).toMatchObject({ received: 0, rejected: 0 })
    expect([higher.open.knows(connection(1)), higher.open.knows(connection(9))]).toEqual([true, false])
  })

  it('goes on under new keys in both directions, the answering side after the first packet of them', async () => {
    const [up, down] = [channelOf(lower), channelOf(higher)]
    say(up, 'a')
    say(down, 'b')
    await deliver()
    higher.open.rekey(await generation(2, 'higher'), connection(1))
    say(down, 'c')
    // The caller has not heard of the answer yet: it still reads, and writes, the old keys.
    expect([...(await deliver())]).toEqual([1])
    lower.open.rekey(await generation(2, 'lower'), undefined)
    expect(lower.open.connectionId).toEqual(connection(2))
    expect(higher.open.connectionId).toEqual(connection(1))
    say(up, 'd')
    await deliver()
    expect(higher.open.connectionId).toEqual(connection(2))
    say(down, 'e')
    expect([...(await deliver())]).toEqual([2])
    expect([higher.texts, lower.texts]).toEqual([
      ['a', 'd'],
      ['b', 'c', 'e'],
    ])
    expect(lower.open.sealed).toBeLessThan(10n)
  })

  it('opens packets of the old keys that were on their way', async () => {
    const up = channelOf(lower)
    say(up, 'old')
    await clock.advance(10)
    higher.open.rekey(await generation(2, 'higher'), connection(1))
    lower.open.rekey(await generation(2, 'lower'), undefined)
    say(up, 'new')
    await deliver()
    expect(higher.texts).toEqual(['old', 'new'])
    expect(higher.open.counts.rejected).toBe(0)
  })

  it('survives calls whose answers were lost, any number of them', async () => {
    const up = channelOf(lower)
    for (let lost = 2; lost <= 6; lost++) higher.open.rekey(await generation(lost, 'higher'), connection(1))
    say(up, 'still here')
    await deliver()
    expect(higher.texts).toEqual(['still here'])
    higher.open.rekey(await generation(7, 'higher'), connection(1))
    lower.open.rekey(await generation(7, 'lower'), undefined)
    say(up, 'and here')
    say(channelOf(higher), 'and back')
    await deliver()
    expect([higher.texts, lower.texts]).toEqual([['still here', 'and here'], ['and back']])
    expect(higher.open.counts.rejected + lower.open.counts.rejected).toBe(0)
  })

  it('rekeys again though nothing was said under the keys in between', async () => {
    for (let number = 2; number <= 5; number++) {
      expect(higher.open.knows(connection(number - 1))).toBe(true)
      higher.open.rekey(await generation(number, 'higher'), connection(number - 1))
      lower.open.rekey(await generation(number, 'lower'), undefined)
    }
    say(channelOf(higher), 'first word')
    say(channelOf(lower), 'second word')
    await deliver()
    expect([lower.texts, higher.texts]).toEqual([['first word'], ['second word']])
  })

  it('uses a data channel once a frame has crossed it each way', async () => {
    const [near, far] = [new FakeChannel(), new FakeChannel()]
    for (const [end, channel] of [
      [lower, near],
      [higher, far],
    ] as const) {
      channel.readyState = 'open'
      end.open.useChannel(channel, new FakeChannel())
    }
    await clock.advance(10)
    expect(lower.log).toEqual(['path relay'])
    for (let round = 0; round < 4; round++) {
      for (const data of near.sent.splice(0)) far.emit('message', { data })
      for (const data of far.sent.splice(0)) near.emit('message', { data: data.slice().buffer })
      await clock.advance(10)
    }
    expect([lower.log, higher.log]).toEqual([
      ['path relay', 'path direct'],
      ['path relay', 'path direct'],
    ])
    lower.outbox.length = 0
    say(channelOf(lower), 'direct')
    await clock.advance(10)
    for (const data of near.sent.splice(0)) far.emit('message', { data })
    await clock.advance(10)
    expect(higher.texts).toEqual(['direct'])
    expect(lower.outbox).toEqual([])
  })

  it('sends datagrams by the channel beside, as long as that has room, and by the relay without a direct path', async () => {
    const opened = channelOf(lower, ChannelKind.DATAGRAMS)
    await deliver()
    expect(opened.sendDatagram(utf8Encode('by relay'))).toBe(true)
    await deliver()
    expect(higher.texts).toEqual(['by relay'])
    const [ordered, beside, farOrdered, far] = Array.from({ length: 4 }, openChannel) as [
      FakeChannel,
      FakeChannel,
      FakeChannel,
      FakeChannel,
    ]
    higher.open.useChannel(farOrdered, far)
    lower.open.useChannel(ordered, beside)
    lower.open.link.setPath('direct', { usable: true })
    await clock.advance(10)
    ordered.sent.length = 0
    expect(opened.sendDatagram(utf8Encode('beside'))).toBe(true)
    beside.bufferedAmount = 16 * 1024
    expect(opened.sendDatagram(utf8Encode('too much'))).toBe(false)
    await clock.advance(10)
    expect([ordered.sent.length, beside.sent.length]).toEqual([0, 1])
    for (const data of beside.sent) far.emit('message', { data })
    for (const data of beside.sent) far.emit('message', { data })
    await clock.advance(10)
    expect(higher.texts).toEqual(['by relay', 'beside'])
    beside.bufferedAmount = 0
    const burst = Array.from({ length: 20 }, () => opened.sendDatagram(utf8Encode('burst')))
    expect(burst.filter((taken) => taken)).toHaveLength(16)
    await clock.advance(10)
    expect(higher.open.counts.replayed).toBe(1)
  })

  it('falls back to the relay when the channel is dropped, and ignores what it still brings', async () => {
    const channel = new FakeChannel()
    channel.readyState = 'open'
    lower.open.useChannel(channel, new FakeChannel())
    lower.open.dropChannel()
    say(channelOf(lower), 'by relay')
    await deliver()
    expect(higher.texts).toEqual(['by relay'])
    const before = { ...lower.open.counts }
    channel.emit('message', { data: Uint8Array.of(1, 2, 3) })
    await clock.advance(10)
    expect(lower.open.counts).toEqual(before)
  })

  it('counts messages of a channel that are no packets', async () => {
    const channel = new FakeChannel()
    channel.readyState = 'open'
    lower.open.useChannel(channel, new FakeChannel())
    channel.emit('message', { data: Uint8Array.of(255, 255, 255) })
    channel.emit('message', { data: 'text' })
    await clock.advance(10)
    expect(lower.open.counts.rejected).toBe(1)
  })

  it('gives a channel that never answers up, and says so', async () => {
    const channel = new FakeChannel()
    channel.readyState = 'open'
    lower.open.useChannel(channel, new FakeChannel())
    await clock.advance(20_000)
    expect(lower.log).toContain('dead LINK_TIMEOUT')
  })

  it('falls back to the relay with the first packet that a channel does not take any more, and says so once', async () => {
    const channel = new FakeChannel()
    channel.readyState = 'open'
    lower.open.useChannel(channel, new FakeChannel())
    await clock.advance(10)
    lower.open.link.setPath('direct', { usable: true })
    // As WebRTC does when the connection is closed on this side.
    channel.readyState = 'closed'
    say(channelOf(lower), 'one')
    say(channelOf(lower), 'two')
    await deliver()
    expect(lower.log).toEqual(['path relay', 'path direct', 'path relay', 'dead ICE_FAILED'])
    expect(higher.texts).toEqual(['one', 'two'])
  })

  it('lets its goodbye leave by the relay, and sends nothing after it finished', async () => {
    lower.open.close(new MeshError(ErrorReason.PEER_LEFT, 'left'))
    const finished = lower.open.finish()
    await clock.advance(10)
    await finished
    await deliver()
    expect(higher.log).toContain('closed PEER_LEFT')
    expect(clock.pending).toBe(0)
  })
})
