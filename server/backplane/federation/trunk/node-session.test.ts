import { create } from '@bufbuild/protobuf'
import { ErrorReason, type NodeProofFields, type SigningKey, seededRandom, VirtualClock } from '@mesh/core'
import { Channel, type Frame, FrameSchema, type Hello } from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { beforeAll, describe, expect, test } from 'vitest'
import { byteKey } from '../../../byte-key.ts'
import type { ServerLimits } from '../../../limits/server-limits.ts'
import { MemoryNetwork } from '../../../testing/memory-trunk.ts'
import {
  broken,
  creditFrame,
  headSeqs,
  RawServer,
  rowsFrame,
  serverKeys,
  stateFrame,
  TestServer,
} from './trunk.fixture.ts'

let keys: { low: SigningKey; high: SigningKey; stranger: SigningKey }

beforeAll(async () => {
  keys = await serverKeys()
})

interface Scene {
  readonly clock: VirtualClock
  readonly network: MemoryNetwork
  readonly server: TestServer
  readonly raw: RawServer
  readonly settle: () => Promise<void>
}

/** A server (low), and a raw one (high) that has opened a stream to it, or is called by it. */
async function scene(
  who: 'raw dials' | 'server dials' = 'raw dials',
  options: {
    limits?: Partial<ServerLimits>
    windowMessages?: number
    rawKey?: SigningKey
    known?: boolean
    seed?: number
  } = {},
): Promise<Scene> {
  const { limits = {}, windowMessages = 64, rawKey = keys.high, known = true, seed = 1 } = options
  const clock = new VirtualClock()
  const network = new MemoryNetwork({ clock, windowMessages })
  const trunk = network.trunk('server')
  const raw = new RawServer(rawKey)
  const server = new TestServer({
    key: keys.low,
    trunk,
    clock,
    limits,
    random: seededRandom(seed),
    allowed: new Set(known ? [byteKey(keys.high.publicKey)] : []),
    addresses: who === 'server dials' ? [{ key: keys.high.publicKey, url: 'raw' }] : [],
  })
  const rawTrunk = network.trunk('raw')
  rawTrunk.onStream((stream) => {
    // A server calls for the directory first; its other call goes to nobody.
    if (raw.stream !== undefined) return new RawServer(rawKey)
    raw.stream = stream
    return raw
  })
  if (who === 'server dials') server.neighbours.start()
  else raw.stream = rawTrunk.dial({ key: keys.low.publicKey, url: 'server' }, Channel.DIRECTORY, raw)
  const settle = (): Promise<void> => clock.advance(20)
  await settle()
  return { clock, network, server, raw, settle }
}

/** The raw server, proven on a stream it opened. */
async function proven(
  options: Parameters<typeof scene>[1] = {},
  hello: Parameters<RawServer['hello']>[0] = {},
): Promise<Scene> {
  const opened = await scene('raw dials', options)
  opened.raw.hello(hello)
  await opened.settle()
  opened.raw.say(await opened.raw.proof())
  await opened.settle()
  expect(opened.raw.kinds).toEqual(['hello', 'proof'])
  expect(opened.server.directory.events).toEqual(['up'])
  return opened
}

const emptyFrame = create(FrameSchema)

describe('a stream that is opened to a server', () => {
  test('is up once both proved who they are, and tells the channel what the other said', async () => {
    const { server, raw } = await proven()
    expect(server.directory.up_).toMatchObject([{ server: byteKey(keys.high.publicKey), epoch: 5n }])
    const hello = raw.heard('hello') as Hello
    expect(hello).toMatchObject({ version: 1, realm: 'example', channel: Channel.DIRECTORY, epoch: 1n, credit: 256 })
    expect(hello.limits).toMatchObject({ recordsPerSecond: 5_000, maxRequestBytes: 1_048_576, maxRows: 1_000_000n })
    expect(raw.closed).toBeUndefined()
  })

  test('says nothing before the other said Hello, and no signature before it proved itself', async () => {
    const { raw, settle } = await scene()
    expect(raw.kinds).toEqual([])
    raw.hello()
    await settle()
    expect(raw.kinds).toEqual(['hello'])
  })

  const hellos: [string, Parameters<RawServer['hello']>[0], ErrorReason][] = [
    ['of another realm', { realm: 'other' }, ErrorReason.REALM_MISMATCH],
    ['with a realm that is too long', { realm: 'x'.repeat(65) }, ErrorReason.INVALID_ARGUMENT],
    ['of another version', { version: 2 }, ErrorReason.NOT_SUPPORTED],
    ['of no version', { version: 0 }, ErrorReason.NOT_SUPPORTED],
    ['for no channel', { channel: Channel.UNSPECIFIED }, ErrorReason.INVALID_ARGUMENT],
    ['for a channel that does not exist', { channel: 3 as Channel }, ErrorReason.INVALID_ARGUMENT],
    ['with a short key', { serverKey: new Uint8Array(31) }, ErrorReason.INVALID_ARGUMENT],
    ['with a short challenge', { challenge: new Uint8Array(31) }, ErrorReason.INVALID_ARGUMENT],
    ['without limits', { limits: undefined }, ErrorReason.INVALID_ARGUMENT],
    ['without credit', { credit: 0 }, ErrorReason.INVALID_ARGUMENT],
  ]
  test.each(hellos)('is refused after a Hello %s', async (_, change, reason) => {
    const { server, raw, settle } = await scene()
    raw.hello(change)
    await settle()
    expect(raw.kinds).toEqual(['goaway'])
    expect(raw.goaway?.reason).toBe(reason)
    expect(raw.closed?.error?.reason).toBe(reason)
    expect(server.directory.events).toEqual([])
    expect(server.eventNames()).toEqual(['federation_refused'])
  })

  test('is refused after a Hello with more positions than any server holds', async () => {
    const { raw, settle } = await scene()
    raw.hello({ have: Array.from({ length: 1_025 }, () => ({ origin: new Uint8Array(32) })) as Hello['have'] })
    await settle()
    expect(raw.goaway?.reason).toBe(ErrorReason.INVALID_ARGUMENT)
  })

  test('is refused when the server is not on the list, before it learns anything', async () => {
    const { raw, settle } = await scene('raw dials', { rawKey: keys.stranger })
    raw.hello()
    await settle()
    expect(raw.kinds).toEqual(['goaway'])
    expect(raw.goaway?.reason).toBe(ErrorReason.NODE_NOT_ALLOWED)
  })

  test('is refused when it says Hello with the key of the server itself', async () => {
    const { raw, settle } = await scene('raw dials', { rawKey: keys.low })
    raw.hello()
    await settle()
    expect(raw.goaway?.reason).toBe(ErrorReason.NODE_NOT_ALLOWED)
  })

  const proofs: [string, (raw: RawServer) => Promise<Frame>, ErrorReason][] = [
    ['by another key', (raw) => raw.proof({}, keys.stranger), ErrorReason.SERVER_KEY_MISMATCH],
    [
      'for another server',
      (raw) => proofFor(raw, { peerServerKey: keys.stranger.publicKey }),
      ErrorReason.SERVER_KEY_MISMATCH,
    ],
    ['over an old challenge', (raw) => proofFor(raw, { challenge: new Uint8Array(32) }), ErrorReason.CHALLENGE_INVALID],
    ['for the other channel', (raw) => proofFor(raw, { channel: Channel.MESSAGES }), ErrorReason.CHALLENGE_INVALID],
    ['for another realm', (raw) => proofFor(raw, { realm: 'other' }), ErrorReason.REALM_MISMATCH],
    ['with another epoch', (raw) => proofFor(raw, { epoch: 6n }), ErrorReason.CHALLENGE_INVALID],
    [
      'without a statement',
      async () => create(FrameSchema, { frame: { case: 'proof', value: {} } }),
      ErrorReason.INVALID_ARGUMENT,
    ],
    ['with a flipped bit', flipped, ErrorReason.SIGNATURE_INVALID],
  ]
  test.each(proofs)('is refused after a proof %s', async (_, proof, reason) => {
    const { server, raw, settle } = await scene()
    raw.hello()
    await settle()
    raw.say(await proof(raw))
    await settle()
    expect(raw.kinds).toEqual(['hello', 'goaway'])
    expect(raw.goaway?.reason).toBe(reason)
    expect(server.directory.events).toEqual([])
  })

  test('is refused when the proof is that of an earlier stream', async () => {
    const first = await scene()
    first.raw.hello()
    await first.settle()
    const replayed = await first.raw.proof()
    const second = await scene('raw dials', { seed: 2 })
    second.raw.hello()
    await second.settle()
    second.raw.say(replayed)
    await second.settle()
    expect(second.raw.goaway?.reason).toBe(ErrorReason.CHALLENGE_INVALID)
    expect(second.server.directory.events).toEqual([])
  })

  const orders: [string, (raw: RawServer) => void][] = [
    ['a frame before Hello', (raw) => raw.say(stateFrame(1))],
    ['nothing at all in a frame', (raw) => raw.say(emptyFrame)],
    ['credit before Hello', (raw) => raw.say(creditFrame(1))],
    ['a second Hello instead of the proof', (raw) => [raw.hello(), raw.hello()]],
    ['a frame instead of the proof', (raw) => [raw.hello(), raw.say(stateFrame(1))]],
    [
      'many frames before the proof',
      (raw) => [raw.hello(), raw.say(...Array.from({ length: 20 }, () => stateFrame(1)))],
    ],
  ]
  test.each(orders)('is refused when it sends %s', async (_, say) => {
    const { server, raw, settle } = await scene()
    say(raw)
    await settle()
    expect(raw.goaway?.reason).toBe(ErrorReason.INVALID_ARGUMENT)
    expect(server.directory.events).toEqual([])
    expect(server.directory.received).toEqual([])
  })

  test('is refused when it has not proved itself in time', async () => {
    const { clock, raw, settle } = await scene()
    raw.hello()
    await clock.advance(9_900)
    expect(raw.closed).toBeUndefined()
    await clock.advance(200)
    await settle()
    expect(raw.goaway).toMatchObject({ reason: ErrorReason.DEADLINE_EXCEEDED, limit: 'federation_handshake_ms' })
  })

  test('that proves nothing makes room for newer ones beyond the servers there can be', async () => {
    const { network, raw, settle } = await scene('raw dials', { limits: { federationMaxServers: 1 } })
    const more = [0, 1].map(() => {
      const other = new RawServer(keys.high)
      other.stream = network
        .trunk(`other ${Math.random()}`)
        .dial({ key: keys.low.publicKey, url: 'server' }, Channel.DIRECTORY, other)
      return other
    })
    await settle()
    expect(raw.goaway).toMatchObject({
      reason: ErrorReason.LIMIT_EXCEEDED,
      limit: 'federation_max_servers',
      retryable: true,
    })
    expect(more.map(({ closed }) => closed)).toEqual([undefined, undefined])
  })
})

describe('a stream that a server opens', () => {
  test('is up once the server that was called proved itself', async () => {
    const { server, raw, settle } = await scene('server dials')
    expect(raw.kinds).toEqual(['hello'])
    raw.hello()
    await settle()
    expect(raw.kinds).toEqual(['hello', 'proof'])
    raw.say(await raw.proof())
    await settle()
    expect([server.directory.events, server.messages.events]).toEqual([['up'], []])
  })

  test('is ended when another server answers there', async () => {
    const { raw, settle } = await scene('server dials', { rawKey: keys.stranger })
    raw.hello()
    await settle()
    expect(raw.kinds).toEqual(['hello', 'goaway'])
    expect(raw.goaway?.reason).toBe(ErrorReason.SERVER_KEY_MISMATCH)
  })

  test('is ended when the answer is for the other channel', async () => {
    const { raw, settle } = await scene('server dials')
    raw.hello({ channel: Channel.MESSAGES })
    await settle()
    expect(raw.goaway?.reason).toBe(ErrorReason.INVALID_ARGUMENT)
  })

  test('is ended when its own Hello and proof come back', async () => {
    const { raw, settle } = await scene('server dials')
    raw.say(create(FrameSchema, { frame: { case: 'hello', value: raw.heard('hello') as Hello } }))
    await settle()
    expect(raw.kinds).toEqual(['hello', 'goaway'])
    expect(raw.goaway?.reason).toBe(ErrorReason.SERVER_KEY_MISMATCH)
  })

  test('keeps what the other side sends right behind its proof until that is verified', async () => {
    const { server, raw, settle } = await scene('server dials')
    raw.hello()
    await settle()
    raw.say(await raw.proof(), stateFrame(1), stateFrame(2))
    await settle()
    expect(server.directory.events).toEqual(['up'])
    expect(headSeqs(server.directory.received)).toEqual([1, 2])
  })
})

describe('a proven stream', () => {
  test('carries what the channel has, as far as the credit goes, and on when there is more', async () => {
    const { server, raw, settle } = await proven({}, { credit: 2 })
    server.send(keys.high, stateFrame(1), stateFrame(2), stateFrame(3))
    await settle()
    expect(headSeqs(raw.frames.slice(2))).toEqual([1, 2])
    raw.say(creditFrame(5))
    await settle()
    expect(headSeqs(raw.frames.slice(2))).toEqual([1, 2, 3])
  })

  test('grants credit anew when half of it is used up', async () => {
    const { server, raw, settle } = await proven({ limits: { federationCreditFrames: 4 } })
    raw.say(stateFrame(1))
    await settle()
    expect(raw.heard('credit')).toBeUndefined()
    raw.say(stateFrame(2))
    await settle()
    expect(raw.heard('credit')).toMatchObject({ frames: 2 })
    for (let seq = 3; seq <= 40; seq++) {
      raw.say(stateFrame(seq))
      await settle()
    }
    expect(headSeqs(server.directory.received)).toHaveLength(40)
    expect(raw.closed).toBeUndefined()
  })

  test('ends with a typed refusal when the other side sends more than its credit', async () => {
    const { server, raw, settle } = await proven({ limits: { federationCreditFrames: 4 } })
    raw.say(...[1, 2, 3, 4, 5].map(stateFrame))
    await settle()
    expect(raw.goaway).toMatchObject({
      reason: ErrorReason.LIMIT_EXCEEDED,
      limit: 'federation_credit_frames',
      limitValue: 4n,
    })
    expect(server.directory.events).toEqual(['up', 'down'])
  })

  test('ends with a typed refusal when the other side logs more rows than it may, and says when to come back', async () => {
    const limits = { federationRecordsPerSecond: 10, federationRecordsBurst: 20 }
    const { server, raw, settle } = await proven({ limits })
    raw.say(rowsFrame(15))
    raw.say(rowsFrame(15))
    await settle()
    expect(server.directory.received).toHaveLength(1)
    expect(raw.goaway).toMatchObject({
      reason: ErrorReason.LIMIT_EXCEEDED,
      limit: 'federation_records_per_second',
      value: 15n,
    })
    expect(raw.goaway?.retryAfterMs).toBeGreaterThan(900)
    expect(server.directory.errors).toEqual([ErrorReason.LIMIT_EXCEEDED])
  })

  test('keeps to the rates that the other side announced', async () => {
    const limits = { recordsPerSecond: 100, messagesPerSecond: 100, maxRequestBytes: 1_048_576 } as Hello['limits']
    const { clock, server, raw } = await proven({}, { limits })
    server.send(keys.high, ...Array.from({ length: 60 }, () => rowsFrame(10)))
    await clock.advance(1_000)
    const frames = raw.frames.length - 2
    // 90 a second, after a quarter of a second's worth and one frame at once.
    expect(frames).toBeGreaterThan(8)
    expect(frames).toBeLessThan(14)
    await clock.advance(6_000)
    expect(raw.frames.length - 2).toBe(60)
  })

  const wrongs: [string, (raw: RawServer) => Frame | Promise<Frame>][] = [
    ['a second Hello', (raw) => create(FrameSchema, { frame: { case: 'hello', value: raw.heard('hello') as Hello } })],
    ['a second proof', (raw) => raw.proof()],
    ['a frame of the other channel', () => create(FrameSchema, { frame: { case: 'envelopes', value: {} } })],
  ]
  test.each(wrongs)('ends when the other side sends %s', async (_, frame) => {
    const { server, raw, settle } = await proven()
    raw.say(await frame(raw))
    await settle()
    expect(raw.goaway?.reason).toBe(ErrorReason.INVALID_ARGUMENT)
    expect(server.directory.events).toEqual(['up', 'down'])
  })

  test('leaves frames of a kind it does not know alone', async () => {
    const { server, raw, settle } = await proven()
    raw.say(emptyFrame, stateFrame(1))
    await settle()
    expect(headSeqs(server.directory.received)).toEqual([1])
  })

  test('tells the other side what the channel objects to, and hears no more of it', async () => {
    const { server, raw, settle } = await proven()
    server.directory.objection = broken()
    raw.say(stateFrame(1), stateFrame(2))
    await settle()
    expect(headSeqs(server.directory.received)).toEqual([1])
    expect(raw.goaway?.reason).toBe(ErrorReason.ORIGIN_FORGED)
    expect(raw.closed?.error?.reason).toBe(ErrorReason.ORIGIN_FORGED)
    expect(server.directory.errors).toEqual([ErrorReason.ORIGIN_FORGED])
  })

  test('sends one frame at once, and a busy channel’s together', async () => {
    const { clock, server, raw } = await proven({ limits: { federationFlushMs: 5 } })
    const arrivals: number[] = []
    const { onFrames } = raw
    raw.onFrames = (frames) => {
      arrivals.push(frames.length)
      onFrames.call(raw, frames)
    }
    await clock.advance(100)
    server.send(keys.high, stateFrame(1), stateFrame(2))
    await clock.advance(1)
    server.send(keys.high, stateFrame(3))
    await clock.advance(1)
    server.send(keys.high, stateFrame(4))
    await clock.advance(10)
    expect(arrivals).toEqual([2, 2])
  })

  test('splits what it sends into messages the other side takes', async () => {
    const limits = { recordsPerSecond: 100_000, messagesPerSecond: 1, maxRequestBytes: 131_072 } as Hello['limits']
    const { server, raw, settle } = await proven({}, { limits })
    const sizes: number[] = []
    const { onFrames } = raw
    raw.onFrames = (frames) => {
      sizes.push(frames.length)
      onFrames.call(raw, frames)
    }
    // About 60 and 100 KiB: both do not fit into 128 KiB.
    server.send(keys.high, rowsFrame(50, 900), rowsFrame(90, 900), stateFrame(1), stateFrame(2))
    await settle()
    expect(sizes).toEqual([1, 1, 2])
  })

  test('ends when the channel has a frame that no message can hold: the server is at fault', async () => {
    const limits = { recordsPerSecond: 100_000, messagesPerSecond: 1, maxRequestBytes: 131_072 } as Hello['limits']
    const { server, raw, settle } = await proven({}, { limits })
    server.send(keys.high, rowsFrame(1_000, 900))
    await settle()
    expect(raw.goaway?.reason).toBe(ErrorReason.INTERNAL)
    expect(server.directory.errors).toEqual([ErrorReason.INTERNAL])
  })

  test('stops pulling while the transport is full, grants no credit, and goes on afterwards', async () => {
    const { clock, network, server, raw } = await proven({ windowMessages: 2, limits: { federationCreditFrames: 4 } })
    network.block('server', 'raw')
    server.send(keys.high, ...Array.from({ length: 50 }, (_, index) => rowsFrame(1, 66_000 + index)))
    await clock.advance(100)
    expect(server.directory.outgoing).toHaveLength(48)
    raw.say(stateFrame(1), stateFrame(2))
    await clock.advance(100)
    expect(network.inFlight).toBe(2)
    network.unblock('server', 'raw')
    await clock.advance(1_000)
    expect(server.directory.outgoing).toEqual([])
    expect(raw.frames.slice(2).filter(({ frame }) => frame.case === 'rows')).toHaveLength(50)
    expect(raw.heard('credit')).toMatchObject({ frames: 2 })
  })

  test('ends when the other side says Goaway, for its reason', async () => {
    const { server, raw, settle } = await proven()
    raw.say(
      create(FrameSchema, { frame: { case: 'goaway', value: { error: broken(ErrorReason.DRAINING).toDetail() } } }),
    )
    await settle()
    expect(server.directory.errors).toEqual([ErrorReason.DRAINING])
    expect(raw.closed).toEqual({ error: undefined })
    expect(raw.goaway).toBeUndefined()
  })

  test('goes on until the deadline of a Goaway', async () => {
    const { clock, server, raw, settle } = await proven()
    const error = broken(ErrorReason.DRAINING).toDetail()
    raw.say(create(FrameSchema, { frame: { case: 'goaway', value: { error, deadlineMs: 1_000 } } }), stateFrame(1))
    await settle()
    server.send(keys.high, stateFrame(2))
    await settle()
    expect([headSeqs(server.directory.received), headSeqs(raw.frames).at(-1)]).toEqual([[1], 2])
    await clock.advance(1_000)
    expect(server.directory.errors).toEqual([ErrorReason.DRAINING])
  })

  test('ends when the line breaks, as unreachable', async () => {
    const { network, server, settle } = await proven()
    network.reset('server', 'raw')
    await settle()
    expect(server.directory.errors).toEqual([ErrorReason.UNREACHABLE])
  })
})

function proofFor(raw: RawServer, change: Partial<NodeProofFields>): Promise<Frame> {
  return raw.proof(change)
}

async function flipped(raw: RawServer): Promise<Frame> {
  const frame = await raw.proof()
  if (frame.frame.case === 'proof') {
    const signature = frame.frame.value.proof?.signature as Uint8Array
    signature[40] = (signature[40] as number) ^ 1
  }
  return frame
}
