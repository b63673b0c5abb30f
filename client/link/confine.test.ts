import { ChannelKind } from '@mesh/protocol/mesh/peer/v1/link_pb'
import { describe, expect, test } from 'vitest'
import { type LinkPair, linkPair, outcomeOf, type RecordedLink, topicOf } from './testing/link-pair.fixture.ts'

const CONFINED = { topic: topicOf(1), kind: ChannelKind.MESSAGES }
const FREE = { topic: topicOf(2), kind: ChannelKind.MESSAGES }

function setDirect(pair: LinkPair, usable: boolean): void {
  for (const { link } of [pair.lower, pair.higher]) link.setPath('direct', { usable })
}

function confinedPair(options: Parameters<typeof linkPair>[0] = {}): LinkPair {
  const pair = linkPair(options)
  for (const { link } of [pair.lower, pair.higher]) link.confine(CONFINED.topic)
  return pair
}

/** Bytes of the messages that left by the relay. */
function relayed({ sent }: RecordedLink): number[] {
  return sent
    .filter(({ path }) => path === 'relay')
    .flatMap(({ body }) => body.frames)
    .flatMap(({ body }) => (body.case === 'data' ? [...body.value.data] : []))
}

describe('Link.confine', () => {
  test('lets data of the topic wait for the direct path, and no other data', async () => {
    const pair = confinedPair()
    const { clock, lower, higher } = pair
    const confined = outcomeOf(lower.link.openChannel(CONFINED).sendMessage(Uint8Array.of(1)))
    const free = outcomeOf(lower.link.openChannel(FREE).sendMessage(Uint8Array.of(2)))
    await clock.advance(60_000)
    expect([confined.now, free.now]).toEqual(['pending', undefined])
    expect(relayed(lower)).toEqual([2])
    setDirect(pair, true)
    await clock.advance(100)
    expect(confined.now).toBeUndefined()
    expect(await higher.channels[0]?.receiveMessage()).toEqual(Uint8Array.of(1))
  })

  test('holds data back on channels that the other side opened', async () => {
    const pair = confinedPair()
    const { clock, lower, higher } = pair
    lower.link.openChannel(CONFINED)
    await clock.advance(50)
    const answer = outcomeOf(higher.channels[0]?.sendMessage(Uint8Array.of(1)) ?? Promise.resolve())
    await clock.advance(1_000)
    expect([answer.now, relayed(higher)]).toEqual(['pending', []])
    setDirect(pair, true)
    await clock.advance(100)
    expect(answer.now).toBeUndefined()
  })

  test('ends the channels with the direct path, sends nothing of them again, and lets the others go on', async () => {
    const pair = confinedPair({ arrives: (_, path) => path === 'relay' })
    const { clock, lower, higher } = pair
    setDirect(pair, true)
    const channel = lower.link.openChannel(CONFINED)
    const ending = lower.link.openChannel(CONFINED)
    const lost = outcomeOf(channel.sendMessage(Uint8Array.of(1)))
    const end = outcomeOf(ending.end())
    const free = outcomeOf(lower.link.openChannel(FREE).sendMessage(Uint8Array.of(2)))
    await clock.advance(10)
    const queued = outcomeOf(channel.sendMessage(Uint8Array.of(3)))
    setDirect(pair, false)
    await clock.advance(100)
    expect([lost.now, queued.now, end.now, free.now]).toEqual(['LINK_CLOSED', 'LINK_CLOSED', 'LINK_CLOSED', undefined])
    expect(relayed(lower)).toEqual([2])
    expect(await channel.closed).toMatchObject({ reasonName: 'LINK_CLOSED', retryable: true })
    expect(await higher.channels[0]?.closed).toMatchObject({ reasonName: 'LINK_CLOSED' })
    expect([lower.link.stats.outstandingFrames, lower.link.stats.openChannels]).toEqual([0, 1])
  })

  test('leaves what had arrived to be read, whichever side noticed first', async () => {
    const pair = confinedPair({ paths: ['relay', 'direct'] })
    const { clock, lower, higher } = pair
    const sent = outcomeOf(lower.link.openChannel(CONFINED).sendMessage(Uint8Array.of(1)))
    await clock.advance(100)
    lower.link.setPath('direct', { usable: false })
    await clock.advance(100)
    expect(sent.now).toBeUndefined()
    expect(await higher.channels[0]?.receiveMessage()).toEqual(Uint8Array.of(1))
    await expect(higher.channels[0]?.receiveMessage()).rejects.toMatchObject({ reasonName: 'LINK_CLOSED' })
  })

  test('is over when the topic is off the link', async () => {
    const { clock, lower } = confinedPair()
    void lower.link.sendControl({ case: 'detach', value: { $typeName: 'mesh.peer.v1.Detach', topic: CONFINED.topic } })
    const sent = outcomeOf(lower.link.openChannel(CONFINED).sendMessage(Uint8Array.of(1)))
    await clock.advance(100)
    expect(sent.now).toBeUndefined()
  })
})
