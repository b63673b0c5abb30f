import { Code } from '@connectrpc/connect'
import { ErrorReason, generateSigningKey, seededRandom, signSessionProof, systemRandom, VirtualClock } from '@mesh/core'
import { MembershipKind } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { NoticeKind } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, test } from 'vitest'
import { refusalOf } from './testing/reason-of.ts'
import { useServers } from './testing/serve.ts'
import { TestPeer } from './testing/test-peer.ts'

const serve = useServers()

/** A server whose time stands still until the test moves it, and a peer without a session. */
async function setUp(limits = {}) {
  const clock = new VirtualClock()
  const { origin } = await serve({ clock, limits })
  const wallMs = (): number => clock.wallMs()
  return { clock, origin, peer: await TestPeer.create({ origin, wallMs }), wallMs }
}

const REFUSED = { code: Code.Unauthenticated }

describe('opening a session is refused', () => {
  test('when the challenge was used before', async () => {
    const { peer } = await setUp()
    const { challenge } = await peer.client.getChallenge({})
    await peer.openSession({ challenge })
    const refusal = await refusalOf(peer.openSession({ challenge }))
    expect(refusal).toMatchObject({ reason: ErrorReason.CHALLENGE_USED, ...REFUSED })
  })

  test('when the challenge is another server’s', async () => {
    const [here, there] = [await setUp(), await setUp()]
    const { challenge } = await there.peer.client.getChallenge({})
    const refusal = await refusalOf(here.peer.openSession({ challenge }))
    expect(refusal).toMatchObject({ reason: ErrorReason.CHALLENGE_INVALID, ...REFUSED })
  })

  test('when the challenge is stale', async () => {
    const { peer, clock } = await setUp()
    const { challenge } = await peer.client.getChallenge({})
    await clock.advance(60_000)
    const refusal = await refusalOf(peer.openSession({ challenge }))
    expect(refusal).toMatchObject({ reason: ErrorReason.CHALLENGE_EXPIRED, limit: 'challenge_ttl_ms', ...REFUSED })
  })

  test.each(['https://evil.example', 'http://localhost', 'http://127.0.0.1:1', 'ftp://127.0.0.1', 'nonsense'])(
    'when the client dialled %s and the challenge was relayed here',
    async (origin) => {
      const { peer } = await setUp()
      const refusal = await refusalOf(peer.openSession({ origin }))
      expect(refusal).toMatchObject({ reason: ErrorReason.ORIGIN_MISMATCH, ...REFUSED })
    },
  )

  test('when the proof names another server key', async () => {
    const { peer, origin } = await setUp()
    const { challenge } = await peer.client.getChallenge({})
    const serverKey = (await generateSigningKey()).publicKey
    const fields = { challenge, serverKey, origin, clientNonce: systemRandom.bytes(16), sessionOrder: 1n }
    const proof = await signSessionProof(peer.key, fields)
    const refusal = await refusalOf(peer.client.openSession({ proof }))
    expect(refusal).toMatchObject({ reason: ErrorReason.SERVER_KEY_MISMATCH, ...REFUSED })
  })

  test('when the proof was altered, and the challenge is not spent by that', async () => {
    const { peer, origin } = await setUp()
    const { challenge, serverKey } = await peer.client.getChallenge({})
    const fields = { challenge, serverKey, origin, clientNonce: systemRandom.bytes(16), sessionOrder: 1n }
    const proof = await signSessionProof(peer.key, fields)
    const signature = proof.signature.slice()
    signature[0] = (signature[0] as number) ^ 1
    const refusal = await refusalOf(peer.client.openSession({ proof: { statement: proof.statement, signature } }))
    expect(refusal.reason).toBe(ErrorReason.SIGNATURE_INVALID)
    await expect(peer.client.openSession({ proof })).resolves.toMatchObject({ renewed: false })
  })

  test('without a proof', async () => {
    const { peer } = await setUp()
    expect(await refusalOf(peer.client.openSession({}))).toMatchObject({ code: Code.InvalidArgument })
  })

  test('too often from one address, with the time to wait', async () => {
    const { peer, clock } = await setUp({ openSessionsBurst: 2, openSessionsPerSecond: 4 })
    await peer.openSession()
    await peer.openSession()
    const refusal = await refusalOf(peer.openSession())
    expect(refusal).toMatchObject({
      limit: 'open_sessions_per_second',
      retryAfterMs: 250,
      code: Code.ResourceExhausted,
    })
    await clock.advance(250)
    await peer.openSession()
  })

  test('when the server is full', async () => {
    const { peer, origin } = await setUp({ maxSessions: 1 })
    await peer.openSession()
    const refusal = await refusalOf(TestPeer.open({ origin }))
    expect(refusal).toMatchObject({ limit: 'max_sessions', code: Code.ResourceExhausted, retryable: true })
  })
})

describe('a token is refused', () => {
  test('at another server', async () => {
    const [here, there] = [await setUp(), await setUp()]
    await there.peer.openSession()
    here.peer.token = there.peer.token
    const refusal = await refusalOf(here.peer.client.closeSession({}, here.peer.auth))
    expect(refusal).toMatchObject({ reason: ErrorReason.TOKEN_INVALID, ...REFUSED })
  })

  test('under another name of the same server', async () => {
    const { peer, origin } = await setUp()
    await peer.openSession()
    const alias = await TestPeer.create({ origin: origin.replace('127.0.0.1', 'localhost') })
    alias.token = peer.token
    const refusal = await refusalOf(alias.client.closeSession({}, alias.auth))
    expect(refusal).toMatchObject({ reason: ErrorReason.ORIGIN_MISMATCH, ...REFUSED })
  })

  test.each(['', 'Bearer', 'Basic abc', 'Bearer a b'])('when the header is %j', async (authorization) => {
    const { peer } = await setUp()
    const refusal = await refusalOf(peer.client.closeSession({}, { headers: { authorization } }))
    expect(refusal).toMatchObject({ reason: ErrorReason.TOKEN_MISSING, ...REFUSED })
  })

  test('in a spelling that is not canonical base64url', async () => {
    const { peer } = await setUp()
    await peer.openSession()
    for (const token of [`${peer.token}=`, peer.token.slice(0, -1), `${peer.token}A`, peer.token.replace(/.$/, '*')]) {
      peer.token = token
      const refusal = await refusalOf(peer.client.closeSession({}, peer.auth))
      expect(refusal).toMatchObject({ reason: ErrorReason.TOKEN_INVALID, ...REFUSED })
    }
  })

  test('after logout', async () => {
    const { peer } = await setUp()
    await peer.openSession()
    await peer.client.closeSession({}, peer.auth)
    const refusal = await refusalOf(peer.client.closeSession({}, peer.auth))
    expect(refusal).toMatchObject({ reason: ErrorReason.SESSION_CLOSED, ...REFUSED })
  })

  test('after the lease of its session, and opens a new one when it comes with OpenSession', async () => {
    const { peer, clock } = await setUp()
    await peer.openSession()
    await clock.advance(15_000)
    const refusal = await refusalOf(peer.client.closeSession({}, peer.auth))
    expect(refusal).toMatchObject({ reason: ErrorReason.SESSION_UNKNOWN, ...REFUSED })
    expect(await peer.openSession()).toMatchObject({ renewed: false })
  })

  test('after its expiry', async () => {
    const { peer, clock } = await setUp({ tokenTtlMs: 5_000 })
    await peer.openSession()
    await clock.advance(5_000)
    const refusal = await refusalOf(peer.client.closeSession({}, peer.auth))
    expect(refusal).toMatchObject({ reason: ErrorReason.TOKEN_EXPIRED, ...REFUSED })
  })

  test('of another peer as the one to renew: a new session opens', async () => {
    const { peer, origin } = await setUp()
    await peer.openSession()
    const thief = await TestPeer.create({ origin })
    thief.token = peer.token
    expect(await thief.openSession()).toMatchObject({ renewed: false })
    await peer.client.closeSession({}, peer.auth)
  })
})

test('a stream does not outlive its token, and resumes losslessly with a renewed one', async () => {
  const { peer, clock, origin, wallMs } = await setUp({ tokenTtlMs: 60_000 })
  await peer.openSession()
  const other = await TestPeer.open({ origin, wallMs })
  const topic = systemRandom.bytes(32)
  await peer.join(topic)
  await other.join(topic)
  const stream = await peer.subscribe().opened()
  const { $cursor } = await stream.next('members')
  await clock.advance(59_000)
  expect(await peer.openSession()).toMatchObject({ renewed: true })
  await clock.advance(1_000)
  expect(await stream.next('notice')).toMatchObject({ kind: NoticeKind.TOKEN_EXPIRED })
  expect(await refusalOf(stream.next('heartbeat'))).toMatchObject({ reason: ErrorReason.TOKEN_EXPIRED, ...REFUSED })
  const resumed = peer.subscribe($cursor)
  // The other peer has had no stream all the while: its lease is what happened next.
  expect((await resumed.next('members')).left).toHaveLength(1)
  resumed.cancel()
})

describe('a membership record is refused', () => {
  async function joined() {
    const { origin, clock, peer, wallMs } = await setUp({ joinsBurst: 50 })
    await peer.openSession()
    return { origin, clock, peer, wallMs, topic: systemRandom.bytes(32) }
  }

  test('when it is of another peer', async () => {
    const { peer, origin, topic, wallMs } = await joined()
    const other = await TestPeer.open({ origin, wallMs })
    const refusal = await refusalOf(peer.client.join({ record: await other.record(topic) }, peer.auth))
    expect(refusal).toMatchObject({ reason: ErrorReason.RECORD_PEER, code: Code.InvalidArgument })
  })

  test('when it is of another session, another home or another kind', async () => {
    const { peer, topic } = await joined()
    const before = await peer.record(topic)
    const leave = await peer.record(topic, MembershipKind.LEAVE)
    const elsewhere = await peer.record(topic, MembershipKind.JOIN, { homeKey: (await generateSigningKey()).publicKey })
    const { sessionId } = peer
    peer.sessionId = seededRandom(1).bytes(16)
    const otherSession = await peer.record(topic)
    peer.sessionId = sessionId
    const reasons = []
    for (const record of [leave, elsewhere, otherSession]) {
      reasons.push((await refusalOf(peer.client.join({ record }, peer.auth))).reason)
    }
    expect(reasons).toEqual([ErrorReason.RECORD_KIND, ErrorReason.RECORD_HOME, ErrorReason.RECORD_SESSION])
    await peer.client.join({ record: before }, peer.auth)
  })

  test('when it is stale, replayed after a LEAVE, or contradicts another with the same seq', async () => {
    const { peer, topic } = await joined()
    const first = await peer.record(topic, MembershipKind.JOIN, { seq: 5n })
    await peer.client.join({ record: first }, peer.auth)
    await peer.client.join({ record: first }, peer.auth)
    const stale = await refusalOf(peer.join(topic, { seq: 4n }))
    expect(stale).toMatchObject({ reason: ErrorReason.RECORD_STALE, value: 5n, code: Code.Aborted })
    const twin = await refusalOf(peer.join(topic, { seq: 5n, state: new Uint8Array([1]) }))
    expect(twin).toMatchObject({ reason: ErrorReason.RECORD_EQUIVOCATION, value: 5n, code: Code.Aborted })
    const again = await peer.record(topic, MembershipKind.JOIN, { seq: 8n })
    await peer.client.join({ record: again }, peer.auth)
    await peer.client.leave({ record: await peer.record(topic, MembershipKind.LEAVE, { seq: 9n }) }, peer.auth)
    const replayed = await refusalOf(peer.client.join({ record: again }, peer.auth))
    expect(replayed).toMatchObject({ reason: ErrorReason.RECORD_STALE, value: 9n })
  })

  test('when it is missing', async () => {
    const { peer } = await joined()
    const refusal = await refusalOf(peer.client.join({}, peer.auth))
    expect(refusal).toMatchObject({ reason: ErrorReason.RECORD_MALFORMED, code: Code.InvalidArgument })
  })
})

describe('quotas of a session are refused as RESOURCE_EXHAUSTED, with what to do', () => {
  test('Join and Leave', async () => {
    const { peer } = await setUp({ joinsBurst: 2, joinsPerSecond: 2 })
    await peer.openSession()
    await peer.join(systemRandom.bytes(32))
    await peer.join(systemRandom.bytes(32))
    const refusal = await refusalOf(peer.join(systemRandom.bytes(32)))
    expect(refusal).toMatchObject({ limit: 'joins_per_second', limitValue: 2n, retryAfterMs: 500, retryable: true })
    expect(refusal.code).toBe(Code.ResourceExhausted)
  })

  test('Lookup', async () => {
    const { peer } = await setUp({ lookupsBurst: 1, lookupsPerSecond: 1 })
    await peer.openSession()
    const target = { case: 'peerKey', value: peer.key.publicKey } as const
    expect(await peer.client.lookup({ target }, peer.auth)).toMatchObject({ members: [] })
    const refusal = await refusalOf(peer.client.lookup({ target }, peer.auth))
    expect(refusal).toMatchObject({ limit: 'lookups_per_second', retryAfterMs: 1_000, code: Code.ResourceExhausted })
  })

  test('topics and streams', async () => {
    const { peer } = await setUp({ maxTopicsPerSession: 1, maxStreamsPerSession: 1 })
    await peer.openSession()
    await peer.join(systemRandom.bytes(32))
    const topics = await refusalOf(peer.join(systemRandom.bytes(32)))
    expect(topics).toMatchObject({ limit: 'max_topics_per_session', limitValue: 1n, code: Code.ResourceExhausted })
    const stream = await peer.subscribe().opened()
    const streams = await refusalOf(peer.subscribe().opened())
    expect(streams).toMatchObject({ limit: 'max_streams_per_session', limitValue: 1n, code: Code.ResourceExhausted })
    stream.cancel()
  })
})
