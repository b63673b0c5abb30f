import { ErrorReason, equalBytes, MeshError, type SigningKey, seededRandom, signingKeyFromSeed } from '@mesh/core'
import { beforeEach, describe, expect, it } from 'vitest'
import { restingClock } from '../testing/at-rest.fixture.ts'
import { FakeServer } from './fake-server.fixture.ts'
import { openSession, type SessionOpener, signalCalls } from './session.ts'
import { SessionOrder, sameProcess } from './session-order.ts'

const ORIGIN = 'https://mesh.example'
const { signal } = new AbortController()
let server: FakeServer
let opener: SessionOpener
let key: SigningKey

beforeEach(async () => {
  const clock = restingClock()
  server = await FakeServer.create(clock)
  key = await signingKeyFromSeed(new Uint8Array(32).fill(1))
  opener = {
    calls: signalCalls(server.transport(false)),
    origin: ORIGIN,
    key,
    order: new SessionOrder(clock.wallMs()),
    clock,
    random: seededRandom(1),
    serverKeys: undefined,
    admit: () => {},
  }
})

function replacedBy(order: bigint): MeshError {
  return new MeshError(ErrorReason.SESSION_REPLACED, 'taken', { value: order })
}

describe('openSession', () => {
  it('gives a session of the server, to be renewed at two thirds of its token', async () => {
    server.limits = { messagesPerSecond: 50 }
    const { session, fresh } = await openSession(opener, undefined, signal)
    expect(fresh).toBe(true)
    expect(session).toMatchObject({
      token: server.tokens[0],
      serverKey: server.key.publicKey,
      heartbeatMs: 10_000,
      renewAtMs: 2_400_000,
      wallOffsetMs: 0,
      limits: { messagesPerSecond: 50 },
      iceServers: [{ urls: ['stun:a'] }, { urls: ['turn:b'], username: 'user', credential: 'secret' }],
    })
    expect(session.id).toHaveLength(16)
  })

  it('keeps id, order and key pair when it renews', async () => {
    const first = await openSession(opener, undefined, signal)
    const second = await openSession(opener, first.session, signal)
    expect(second.fresh).toBe(false)
    expect(second.session.token).not.toBe(first.session.token)
    expect(second.session).toMatchObject({ id: first.session.id, order: first.session.order })
    expect(second.session.sessionKey).toBe(first.session.sessionKey)
    expect(server.calls).toEqual(['open', 'renew'])
  })

  it('has a new key pair when the server does not know the old session any more', async () => {
    const first = await openSession(opener, undefined, signal)
    server.forgetSessions()
    const second = await openSession(opener, first.session, signal)
    expect(second.fresh).toBe(true)
    expect(equalBytes(second.session.sessionKey.publicKey, first.session.sessionKey.publicKey)).toBe(false)
  })

  it('rises above a process whose clock is ahead, as long as it has had no session itself', async () => {
    const ahead = new SessionOrder(opener.clock.wallMs() + 60_000).next()
    server.refuseNext('open', replacedBy(ahead), replacedBy(ahead + (1n << 21n)))
    const { session } = await openSession(opener, undefined, signal)
    expect(session.order).toBeGreaterThan(ahead + (1n << 21n))
    expect(server.orders).toHaveLength(3)
    expect(sameProcess(server.orders[1] as bigint, ahead)).toBe(false)
  })

  it('gives way when it had a session, here or elsewhere: the newer process wins', async () => {
    await openSession(opener, undefined, signal)
    server.refuseNext('open', replacedBy(2n ** 63n))
    await expect(openSession(opener, undefined, signal)).rejects.toMatchObject({
      reason: ErrorReason.SESSION_REPLACED,
    })
    expect(server.orders).toHaveLength(2)
  })

  it('opens again when the process took another name while the session was opened', async () => {
    const ahead = new SessionOrder(opener.clock.wallMs() + 60_000).next()
    server.alterGrant = (grant) => {
      opener.order.startAbove(ahead)
      return grant
    }
    const { session } = await openSession(opener, undefined, signal)
    expect(sameProcess(session.order, opener.order.next())).toBe(true)
    expect(server.orders).toHaveLength(2)
  })

  it('proves nothing to a server that is not admitted', async () => {
    const refusal = new MeshError(ErrorReason.CONFIGURATION, 'the same server as another')
    const admit = (serverKey: Uint8Array) => {
      expect(serverKey).toEqual(server.key.publicKey)
      throw refusal
    }
    await expect(openSession({ ...opener, admit }, undefined, signal)).rejects.toBe(refusal)
    expect(server.calls).toEqual([])
  })

  it('stops rising after three times, and when nothing is above', async () => {
    server.refuseNext('open', ...[1n, 2n, 3n, 4n].map((process) => replacedBy((1n << 42n) << (20n + process / 4n))))
    await expect(openSession(opener, undefined, signal)).rejects.toMatchObject({
      reasonName: 'SESSION_REPLACED',
    })
    expect(server.orders).toHaveLength(4)
    server.refuseNext('open', replacedBy(2n ** 64n - 1n))
    await expect(openSession(opener, undefined, signal)).rejects.toMatchObject({
      reasonName: 'SESSION_REPLACED',
    })
    expect(server.orders).toHaveLength(5)
  })

  it('refuses a server with another key than the pinned one, before it proves anything to it', async () => {
    const pinned = { ...opener, serverKeys: [key.publicKey] }
    await expect(openSession(pinned, undefined, signal)).rejects.toMatchObject({
      reason: ErrorReason.SERVER_KEY_MISMATCH,
    })
    expect(server.calls).toEqual([])
    const right = { ...opener, serverKeys: [key.publicKey, server.key.publicKey] }
    await expect(openSession(right, undefined, signal)).resolves.toMatchObject({ fresh: true })
  })

  it('refuses a grant whose signature does not verify, or that another server signed', async () => {
    server.alterGrant = (grant) => ({
      ...grant,
      signature: grant.signature.with(0, (grant.signature[0] as number) ^ 1),
    })
    await expect(openSession(opener, undefined, signal)).rejects.toMatchObject({
      reason: ErrorReason.SIGNATURE_INVALID,
    })
    server.alterGrant = (grant) => grant
    await server.grantByAnother()
    await expect(openSession(opener, undefined, signal)).rejects.toMatchObject({
      reason: ErrorReason.SERVER_KEY_MISMATCH,
    })
  })

  it('follows the clock of the server when the own one is wrong, not for a few seconds', async () => {
    server.clockAheadMs = 4_000
    expect((await openSession(opener, undefined, signal)).session.wallOffsetMs).toBe(0)
    server.clockAheadMs = -3_600_000
    const { session } = await openSession(opener, undefined, signal)
    expect(session.wallOffsetMs).toBe(-3_600_000)
    // The token's life does not depend on either clock being right.
    expect(session.renewAtMs).toBe(2_400_000)
  })

  it('rejects with the reason of the abort', async () => {
    const reason = new MeshError(ErrorReason.SESSION_CLOSED, 'closed')
    await expect(openSession(opener, undefined, AbortSignal.abort(reason))).rejects.toBe(reason)
  })
})
