import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { parsePeerId } from '@mesh/client'
import { equalBytes } from '@mesh/core'
import { PeerPayloadSchema } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import { MembershipRecordSchema, type SignedRecord } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { DepartureReason, type Envelope } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { drivenWorld, type TestPeer, type World } from './driven-world.ts'

/** A server that does everything a server can do: nothing false may reach the application. */
let world: World

beforeEach(async () => {
  world = await drivenWorld()
})
afterEach(async () => {
  world.signaling.tampering = {}
  await world.closeAll()
})

function key(peer: TestPeer): Uint8Array {
  return parsePeerId(peer.swarm.id)
}

function signalsOnly(change: (envelope: Envelope) => Envelope | undefined) {
  return (envelope: Envelope) => {
    const { payload } = fromBinary(PeerPayloadSchema, envelope.payload)
    return payload.case === 'signal' ? change(envelope) : envelope
  }
}

async function strangersStayOut(...peers: TestPeer[]): Promise<void> {
  await world.clock.advance(20_000)
  for (const { swarm, texts } of peers) {
    expect(swarm.peers.size).toBe(0)
    expect(texts).toEqual([])
  }
}

describe('a lying server', () => {
  it('cannot show a member under a record somebody else signed', async () => {
    const errors: string[] = []
    world.signaling.tampering.records = (records) =>
      records.map(({ record, signature, $typeName }) => {
        const forged = fromBinary(MembershipRecordSchema, record)
        forged.seq += 1n
        return { $typeName, record: toBinary(MembershipRecordSchema, forged), signature }
      })
    const a = await world.join('party')
    a.swarm.on('error', (error) => errors.push(error.reasonName))
    const b = await world.join('party')
    await strangersStayOut(a, b)
    expect(errors).toContain('SIGNATURE_INVALID')
  })

  it('cannot move a record of another topic here', async () => {
    const elsewhere: SignedRecord[] = []
    world.signaling.tampering.records = (records) => {
      elsewhere.push(...records)
      return records
    }
    await world.join('other party')
    await world.join('other party')
    const errors: string[] = []
    world.signaling.tampering.records = () => elsewhere
    const a = await world.join('party')
    a.swarm.on('error', (error) => errors.push(error.reasonName))
    await world.join('party')
    await world.clock.advance(20_000)
    expect(a.swarm.memberCount).toBe(0)
    expect(errors).toContain('RECORD_TOPIC')
  })

  it('cannot bring a peer that left back with its old record', async () => {
    const old: SignedRecord[] = []
    const a = await world.join('party')
    world.signaling.tampering.records = (records) => {
      old.push(...records)
      return records
    }
    const b = await world.join('party')
    await world.until('connected', () => a.swarm.peers.size === 1)
    await world.settled(b.swarm.close())
    await world.until('left', () => a.swarm.peers.size === 0)
    world.signaling.inject(key(a), {
      case: 'members',
      value: {
        $typeName: 'mesh.signal.v1.MembersEvent',
        topic: a.swarm.topic,
        revision: 99n,
        joined: old,
        updated: [],
        left: [],
      },
    })
    await world.clock.advance(20_000)
    expect(a.swarm.memberCount).toBe(0)
  })

  it('cannot end a live direct link by claiming that the peer left', async () => {
    const a = await world.join('party')
    const b = await world.join('party')
    await world.until('direct', () => [...a.swarm.peers.values()][0]?.path === 'direct')
    const left = { $typeName: 'mesh.signal.v1.Departure' as const, peerKey: key(b), reason: DepartureReason.LEFT }
    for (const sessionId of await sessionIdsOf(b)) {
      world.signaling.inject(key(a), {
        case: 'members',
        value: {
          $typeName: 'mesh.signal.v1.MembersEvent',
          topic: a.swarm.topic,
          revision: 99n,
          joined: [],
          updated: [],
          left: [{ ...left, sessionId }],
        },
      })
    }
    await world.clock.advance(20_000)
    expect(a.swarm.memberCount).toBe(0)
    expect(a.swarm.peers.size).toBe(1)
    await world.settled(b.swarm.send('still here'))
    expect(a.texts).toEqual(['still here'])
  })

  it('cannot alter a sealed signal', async () => {
    world.signaling.tampering.envelope = signalsOnly((envelope) => {
      const payload = envelope.payload.slice()
      const last = payload.length - 1
      payload[last] = (payload[last] as number) ^ 1
      return { ...envelope, payload }
    })
    const a = await world.join('party')
    const b = await world.join('party')
    await strangersStayOut(a, b)
  })

  it('cannot pass a signal off as somebody else’s', async () => {
    const a = await world.join('party')
    const c = await world.join('party')
    await world.until('connected', () => a.swarm.peers.size === 1)
    world.signaling.tampering.envelope = signalsOnly((envelope) => ({ ...envelope, from: key(c) }))
    const b = await world.join('party')
    await world.clock.advance(20_000)
    expect(b.swarm.peers.size).toBe(0)
    expect(a.swarm.peers.size).toBe(1)
  })

  it('cannot connect two peers to a third while each believes it is the other', async () => {
    // Everything between a and b is delivered to c as well, and the other way round: c holds its own keys only.
    const c = await world.join('party')
    world.signaling.tampering.envelope = ((envelope: Envelope) =>
      equalBytes(envelope.to, key(c)) || equalBytes(envelope.from, key(c))
        ? envelope
        : [{ ...envelope, to: key(c) }]) as never
    const a = await world.join('party')
    const b = await world.join('party')
    await world.until('each has the third', () => a.swarm.peers.size === 1 && b.swarm.peers.size === 1)
    await world.settled(c.swarm.send('from c'))
    await world.clock.advance(20_000)
    for (const { swarm, messages } of [a, b]) {
      expect([...swarm.peers.keys()]).toEqual([c.swarm.id])
      expect(messages.map(({ from }) => from.id)).toEqual([c.swarm.id])
    }
  })

  it('cannot replay packets of a link', async () => {
    const recorded: Envelope[] = []
    world.signaling.tampering.envelope = (envelope) => {
      recorded.push(envelope)
      return envelope
    }
    const a = await world.join('party', { rtc: null })
    const b = await world.join('party', { rtc: null })
    await world.settled(b.swarm.send('once'))
    for (const value of [...recorded]) world.signaling.inject(value.to, { case: 'message', value })
    await world.clock.advance(5_000)
    expect(a.texts).toEqual(['once'])
    expect(a.swarm.peers.size).toBe(1)
  })

  it('learns nothing that opens a party known only by its topic', async () => {
    const a = await world.join('party')
    const stranger = await world.join({ topic: a.swarm.topic })
    await world.clock.advance(20_000)
    expect(a.swarm.peers.size).toBe(0)
    expect(stranger.swarm.peers.size).toBe(0)
  })
})

/** The sessions a peer has been seen under, by watching a third one find it. */
async function sessionIdsOf(peer: TestPeer): Promise<Uint8Array[]> {
  const sessions: Uint8Array[] = []
  world.signaling.tampering.records = (records) => {
    for (const { record } of records) {
      const { peerKey, sessionId } = fromBinary(MembershipRecordSchema, record)
      if (equalBytes(peerKey, key(peer))) sessions.push(sessionId)
    }
    return records
  }
  const watcher = await world.join({ topic: peer.swarm.topic })
  world.signaling.tampering = {}
  await world.settled(watcher.swarm.close())
  return sessions
}
