import { ErrorReason, MeshError, seededRandom, signingKeyFromSeed, type VirtualClock } from '@mesh/core'
import { NoticeKind } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { restingClock } from '../testing/at-rest.fixture.ts'
import { FakeServer } from './fake-server.fixture.ts'
import { SessionOrder } from './session-order.ts'
import { SignalClient } from './signal-client.ts'
import type { SignalState } from './signal-state.ts'

const ORIGIN = 'https://mesh.example'
const NONE = new Uint8Array(0)
let clock: VirtualClock
let server: FakeServer
let client: SignalClient
/** "connecting", "waiting UNREACHABLE", "opened", "connected fresh", "gap" ..., in order. */
let log: string[]

beforeEach(async () => {
  clock = restingClock()
  server = await FakeServer.create(clock)
})
afterEach(async () => {
  await client.close()
  expect(clock.pending).toBe(0)
})

function describeState(state: SignalState): string {
  const error = state.kind === 'waiting' || state.kind === 'closed' ? state.error : undefined
  return error ? `${state.kind} ${error.reasonName}` : state.kind
}

async function makeClient(options: { duplex?: boolean; serverKeys?: Uint8Array[] } = {}): Promise<void> {
  log = []
  client = new SignalClient({
    transport: server.transport(options.duplex ?? false),
    origin: ORIGIN,
    key: await signingKeyFromSeed(new Uint8Array(32).fill(1)),
    order: new SessionOrder(clock.wallMs()),
    clock,
    random: seededRandom(1),
    ...(options.serverKeys && { serverKeys: options.serverKeys }),
    events: {
      opened: () => log.push('opened'),
      connected: (fresh) => log.push(fresh ? 'connected fresh' : 'connected again'),
      members: ({ revision }) => log.push(`members ${revision}`),
      message: ({ ttlMs }) => log.push(`message ${ttlMs}`),
      gap: () => log.push('gap'),
      draining: ({ deadlineMs }) => log.push(`draining ${deadlineMs}`),
      state: (state) => log.push(describeState(state)),
    },
  })
  client.start()
}

/** A client with a running stream, and an empty log. */
async function connect(options: { duplex?: boolean } = {}): Promise<void> {
  await makeClient(options)
  await clock.advance(0)
  server.stream.heartbeat()
  await clock.advance(0)
  expect(client.state.kind).toBe('connected')
  log.length = 0
}

/** Heartbeats every 10 s, as a server sends them. */
async function beat(forMs: number): Promise<void> {
  for (let passedMs = 0; passedMs < forMs; passedMs += 10_000) {
    server.stream.heartbeat()
    await clock.advance(10_000)
  }
}

function notice(kind: NoticeKind, value?: bigint): void {
  const detail = value === undefined ? undefined : new MeshError(ErrorReason.SESSION_REPLACED, '', { value }).toDetail()
  server.stream.event(0n, {
    case: 'notice',
    value: { kind, deadlineMs: 0, successor: '', ...(detail && { detail }) },
  })
}

function envelope(number: number) {
  return { to: NONE, topic: NONE, ttlMs: 0, payload: Uint8Array.of(number) }
}

describe.each([
  ['Subscribe and SendMessage', false],
  ['Exchange', true],
] as const)('signal client over %s', (_name, duplex) => {
  const stream = duplex ? 'exchange' : 'subscribe'

  it('opens a session, then a stream, and is connected with the first event', async () => {
    await makeClient({ duplex })
    await clock.advance(0)
    expect(log).toEqual(['connecting', 'opened'])
    expect(server.calls).toEqual(['open', `${stream} 0`])
    server.stream.heartbeat()
    await clock.advance(0)
    expect(log).toEqual(['connecting', 'opened', 'connected', 'connected fresh'])
    expect(client.session?.token).toBe(server.tokens[0])
  })

  it('hands events out and resumes after the last one', async () => {
    await connect({ duplex })
    server.stream.event(1n, { case: 'members', value: { revision: 7n } })
    server.stream.event(2n, { case: 'message', value: { ttlMs: 3 } })
    server.stream.event(3n, { case: 'gap', value: {} })
    server.stream.heartbeat(3n)
    await clock.advance(0)
    expect(log).toEqual(['members 7', 'message 3', 'gap'])
    log.length = 0
    server.stream.end()
    await clock.advance(250)
    server.stream.heartbeat(3n)
    await clock.advance(0)
    expect(server.calls.at(-1)).toBe(`${stream} 3`)
    expect(log).toEqual(['waiting UNREACHABLE', 'connecting', 'connected', 'connected again'])
    expect(server.tokens).toHaveLength(1)
  })

  it('comes back when the server is silent for two and a half heartbeats, and not before', async () => {
    await connect({ duplex })
    const { stream: silent } = server
    await clock.advance(24_999)
    expect(log).toEqual([])
    await clock.advance(1)
    expect(log).toEqual(['waiting UNREACHABLE'])
    await clock.advance(250)
    expect(silent.aborted).toBe(true)
    expect(server.streams).toHaveLength(2)
  })

  it('stays on a stream that delivers anything within that time', async () => {
    await connect({ duplex })
    await beat(120_000)
    expect(log).toEqual([])
    expect(server.streams).toHaveLength(1)
  })

  it('sends envelopes in order and settles them by their outcomes', async () => {
    await connect({ duplex })
    const outcomes = Promise.all([1, 2, 3].map((number) => client.send(envelope(number))))
    await clock.advance(0)
    expect(await outcomes).toEqual(['delivered', 'delivered', 'delivered'])
    expect(server.received.map(({ payload }) => payload[0])).toEqual([1, 2, 3])
  })

  it('sends what had no outcome again on the next stream, with the same id', async () => {
    await connect({ duplex })
    if (duplex) server.answers = false
    else server.refuseNext('send', new MeshError(ErrorReason.UNREACHABLE, 'lost'))
    const outcome = client.send(envelope(1))
    await clock.advance(0)
    server.answers = true
    server.stream.end()
    await clock.advance(1_000)
    server.stream.heartbeat()
    await clock.advance(0)
    expect(await outcome).toBe('delivered')
    expect(new Set(server.received.map(({ id }) => String(id))).size).toBe(1)
    expect(server.received).toHaveLength(duplex ? 2 : 1)
  })

  it('renews at two thirds of the token without touching the stream, and resumes at once when the old token ends', async () => {
    await connect({ duplex })
    await beat(2_400_000)
    await beat(10_000)
    expect(server.calls).toEqual(['open', `${stream} 0`, 'renew'])
    expect(client.session?.token).toBe(server.tokens[1])
    expect(log).toEqual([])
    const { stream: old } = server
    notice(NoticeKind.TOKEN_EXPIRED)
    old.end(new MeshError(ErrorReason.TOKEN_EXPIRED, 'over'))
    await clock.advance(0)
    server.stream.heartbeat()
    await clock.advance(0)
    expect(server.stream.token).toBe(server.tokens[1])
    expect(server.calls).toEqual(['open', `${stream} 0`, 'renew', `${stream} 0`])
    expect(log).toEqual(['connecting', 'connected', 'connected again'])
  })

  it('closes the session, ends the stream and fails what waits, once', async () => {
    await connect({ duplex })
    server.answers = false
    if (!duplex) server.refuseNext('send', new MeshError(ErrorReason.LIMIT_EXCEEDED, 'later', { retryAfterMs: 500 }))
    const waiting = client.send(envelope(1)).catch((error: MeshError) => error)
    const closing = client.close()
    expect(client.close()).toBe(closing)
    await closing
    expect(server.calls.filter((call) => call === 'close')).toHaveLength(1)
    expect(server.transportClosed).toBe(1)
    expect(server.stream.aborted).toBe(true)
    expect(await waiting).toMatchObject({ reason: ErrorReason.SESSION_CLOSED })
    expect(log).toEqual(['closed'])
    await expect(client.send(envelope(2))).rejects.toMatchObject({ reason: ErrorReason.SESSION_CLOSED })
    await expect(client.join({} as never, 0)).rejects.toMatchObject({ reason: ErrorReason.SESSION_CLOSED })
  })
})

describe('signal client over Exchange', () => {
  it('acknowledges events of a stream it sends nothing on, at most once a second', async () => {
    await connect({ duplex: true })
    for (let cursor = 1n; cursor <= 30n; cursor++) {
      server.stream.event(cursor, { case: 'message', value: {} })
      await clock.advance(100)
    }
    expect(server.stream.acknowledged).toBeGreaterThanOrEqual(20n)
    await clock.advance(1_000)
    expect(server.stream.acknowledged).toBe(30n)
    expect(server.stream.requests).toBeLessThanOrEqual(1 + 4)
    const { requests } = server.stream
    await beat(60_000)
    expect(server.stream.requests).toBe(requests)
  })
})

describe('signal client', () => {
  it('waits longer each time the server cannot be reached, at most 15 s, and forgets that after a stable stream', async () => {
    await makeClient()
    server.refuseNext('challenge', ...Array.from({ length: 12 }, () => new MeshError(ErrorReason.DRAINING, 'stopping')))
    const waits: number[] = []
    await clock.advance(0)
    for (let attempt = 0; attempt < 12; attempt++) {
      const startedMs = clock.monotonicMs()
      const failures = log.filter((entry) => entry.startsWith('waiting')).length
      while (log.filter((entry) => entry.startsWith('waiting')).length === failures && server.calls.length === 0)
        await clock.advance(50)
      waits.push(clock.monotonicMs() - startedMs)
    }
    expect(Math.max(...waits.slice(0, 2))).toBeLessThanOrEqual(550)
    expect(Math.max(...waits)).toBeGreaterThan(2_000)
    expect(Math.max(...waits)).toBeLessThanOrEqual(15_050)
    server.stream.heartbeat()
    await clock.advance(6_000)
    server.stream.end()
    await clock.advance(250)
    expect(server.streams).toHaveLength(2)
  })

  it('does not take a hanging attempt for a stable stream', async () => {
    await makeClient()
    await clock.advance(0)
    // No first event: the watchdog ends each attempt after 25 s, and the wait in between still grows.
    const starts: number[] = []
    for (let opened = server.streams.length; starts.length < 8; await clock.advance(100)) {
      if (server.streams.length === opened) continue
      opened = server.streams.length
      starts.push(clock.monotonicMs())
    }
    const waits = starts.slice(1).map((startMs, i) => startMs - (starts[i] as number) - 25_000)
    expect(Math.max(...waits)).toBeGreaterThan(500)
  })

  it('waits as long as the server asks', async () => {
    server.refuseNext('open', new MeshError(ErrorReason.LIMIT_EXCEEDED, 'later', { retryAfterMs: 20_000 }))
    await makeClient()
    await clock.advance(19_999)
    expect(server.calls).toEqual(['open'])
    await clock.advance(1)
    expect(server.calls).toEqual(['open', 'open', 'subscribe 0'])
  })

  it('still says that a session is new when its first stream broke before it said anything', async () => {
    await makeClient()
    await clock.advance(0)
    server.stream.end()
    await clock.advance(250)
    server.stream.heartbeat()
    await clock.advance(0)
    expect(server.tokens).toHaveLength(1)
    expect(log).toEqual(['connecting', 'opened', 'waiting UNREACHABLE', 'connecting', 'connected', 'connected fresh'])
  })

  it('opens a new session, with a new cursor, when the server forgot the old one', async () => {
    await connect()
    server.stream.event(9n, { case: 'gap', value: {} })
    await clock.advance(0)
    server.forgetSessions()
    server.stream.end(new MeshError(ErrorReason.SESSION_UNKNOWN, 'unknown'))
    await clock.advance(250)
    server.stream.heartbeat()
    await clock.advance(0)
    expect(server.calls).toEqual(['open', 'subscribe 0', 'open', 'subscribe 0'])
    expect(server.orders[1]).toBe((server.orders[0] as bigint) + 1n)
    expect(log.slice(-3)).toEqual(['opened', 'connected', 'connected fresh'])
  })

  it('opens a new session at once when the server forgot one that had lasted, and waits when it forgets that too', async () => {
    await connect()
    await clock.advance(6_000)
    server.forgetSessions()
    server.stream.end(new MeshError(ErrorReason.SESSION_UNKNOWN, 'unknown'))
    server.refuseNext('subscribe', new MeshError(ErrorReason.SESSION_UNKNOWN, 'unknown'))
    await clock.advance(0)
    expect(server.calls).toEqual(['open', 'subscribe 0', 'open', 'subscribe 0'])
    expect(log).toEqual(['connecting', 'opened', 'waiting SESSION_UNKNOWN'])
    await clock.advance(1_000)
    server.stream.heartbeat()
    await clock.advance(0)
    expect(log.slice(-3)).toEqual(['opened', 'connected', 'connected fresh'])
  })

  it('does not wait twice for one restart: once to find its server, and not again for a session', async () => {
    await connect()
    await clock.advance(6_000)
    server.forgetSessions()
    server.refuseNext('subscribe', ...Array.from({ length: 6 }, () => new MeshError(ErrorReason.UNREACHABLE, 'down')))
    server.stream.end()
    while (server.tokens.length < 2) await clock.advance(10)
    const waiting = log.filter((entry) => entry.startsWith('waiting'))
    expect(waiting).toEqual(Array(7).fill('waiting UNREACHABLE'))
    expect(server.calls.slice(-3)).toEqual(['subscribe 0', 'open', 'subscribe 0'])
  })

  it('opens a new session when the token ended and no renewal had succeeded', async () => {
    await connect()
    server.refuseNext('challenge', ...Array.from({ length: 200 }, () => new MeshError(ErrorReason.DRAINING, 'no')))
    await beat(2_500_000)
    expect(log).toEqual([])
    server.refusals.clear()
    notice(NoticeKind.TOKEN_EXPIRED)
    await clock.advance(250)
    server.stream.heartbeat()
    await clock.advance(0)
    expect(log.slice(-2)).toEqual(['connected', 'connected fresh'])
  })

  it('keeps its stream while renewing fails, and tries again', async () => {
    await connect()
    server.refuseNext('open', new MeshError(ErrorReason.LIMIT_EXCEEDED, 'later', { retryAfterMs: 1_000 }))
    await beat(2_430_000)
    expect(server.calls).toEqual(['open', 'subscribe 0', 'renew', 'renew'])
    expect(log).toEqual([])
  })

  it('moves to the session it gets when the server opens a new one instead of renewing', async () => {
    await connect()
    server.forgetSessions()
    await beat(2_410_000)
    server.stream.heartbeat()
    await clock.advance(0)
    expect(server.calls).toEqual(['open', 'subscribe 0', 'open', 'subscribe 0'])
    expect(log).toEqual(['opened', 'connecting', 'connected', 'connected fresh'])
  })

  it('stops for good when another process took the session over', async () => {
    await connect()
    notice(NoticeKind.SESSION_REPLACED, (server.orders[0] as bigint) + (5n << 20n))
    await clock.advance(0)
    expect(log).toEqual(['closed SESSION_REPLACED'])
    const calls = server.calls.length
    await clock.advance(120_000)
    expect(server.calls).toHaveLength(calls)
    await expect(client.send(envelope(1))).rejects.toMatchObject({ reason: ErrorReason.SESSION_REPLACED })
    await expect(client.join({} as never, 0)).rejects.toMatchObject({ reason: ErrorReason.SESSION_REPLACED })
  })

  it('comes back when it was a later session of its own that took over', async () => {
    await connect()
    notice(NoticeKind.SESSION_REPLACED, (server.orders[0] as bigint) + 1n)
    await clock.advance(250)
    server.stream.heartbeat()
    await clock.advance(0)
    expect(log).toEqual(['waiting SESSION_REPLACED', 'connecting', 'opened', 'connected', 'connected fresh'])
  })

  it.each([
    ['the origin is not its own', ErrorReason.ORIGIN_MISMATCH],
    ['the key is refused', ErrorReason.KEY_INVALID],
  ])('gives up when the server says at first that %s', async (_what, reason) => {
    server.refuseNext('open', new MeshError(reason, 'no'))
    await makeClient()
    await clock.advance(60_000)
    expect(log).toEqual(['connecting', `closed ${new MeshError(reason, '').reasonName}`])
    expect(server.calls).toEqual(['open'])
  })

  it('keeps trying after the same refusal once it was connected', async () => {
    await connect()
    server.forgetSessions()
    server.refuseNext('open', new MeshError(ErrorReason.ORIGIN_MISMATCH, 'no'))
    server.stream.end()
    await clock.advance(2_000)
    server.stream.heartbeat()
    await clock.advance(0)
    expect(client.state.kind).toBe('connected')
  })

  it('gives up at a server that shows another key than the pinned one', async () => {
    await makeClient({ serverKeys: [new Uint8Array(32).fill(3)] })
    await clock.advance(60_000)
    expect(log).toEqual(['connecting', 'closed SERVER_KEY_MISMATCH'])
  })

  it('says that a call may succeed later while there is no session, and after one was lost', async () => {
    server.refuseNext('challenge', new MeshError(ErrorReason.DRAINING, 'stopping'))
    await makeClient()
    await clock.advance(0)
    await expect(client.join({} as never, 0)).rejects.toMatchObject({ reasonName: 'UNREACHABLE', retryable: true })
    await clock.advance(500)
    server.stream.heartbeat()
    await clock.advance(0)
    server.forgetSessions()
    const refused = client.join({} as never, 0).catch((error: MeshError) => error)
    await clock.advance(1_000)
    expect(await refused).toMatchObject({ reasonName: 'SESSION_UNKNOWN', retryable: true })
    expect(server.tokens).toHaveLength(2)
  })

  it('passes the refusal of a call on and keeps its session', async () => {
    await connect()
    server.refuseNext('join', new MeshError(ErrorReason.RECORD_STALE, 'stale', { value: 5n }))
    const refused = client.join({} as never, 0).catch((error: MeshError) => error)
    await clock.advance(0)
    expect(await refused).toMatchObject({ reasonName: 'RECORD_STALE', value: 5n })
    expect(server.tokens).toHaveLength(1)
    expect(log).toEqual([])
  })

  it('shows the limit that the server warned of, until the next stream', async () => {
    await connect()
    const near = new MeshError(ErrorReason.LIMIT_EXCEEDED, '', {
      limit: 'max_topics_per_session',
      limitValue: 128,
      value: 96,
    })
    const value = { kind: NoticeKind.LIMIT_WARNING, detail: near.toDetail() }
    server.stream.event(0n, { case: 'notice', value: { ...value, deadlineMs: 0, successor: '' } })
    await clock.advance(0)
    expect(client.warning).toMatchObject({ limit: 'max_topics_per_session', limitValue: 128n, value: 96n })
    expect(client.state.kind).toBe('connected')
    server.stream.end()
    await clock.advance(5_000)
    expect(client.warning).toBeUndefined()
  })

  it('gives an envelope up after 30 s without a server', async () => {
    await connect()
    const draining = Array.from({ length: 50 }, () => new MeshError(ErrorReason.DRAINING, 'no'))
    server.refuseNext('subscribe', ...draining)
    server.refuseNext('send', ...draining)
    server.stream.end()
    await clock.advance(0)
    const lost = client.send(envelope(1)).catch((error: MeshError) => error)
    await clock.advance(31_000)
    expect(await lost).toMatchObject({ reason: ErrorReason.UNREACHABLE })
  })

  it('closes while it waits, without calling a server it has no session at', async () => {
    server.refuseNext('challenge', new MeshError(ErrorReason.DRAINING, 'stopping', { retryAfterMs: 60_000 }))
    await makeClient()
    await clock.advance(0)
    await client.close()
    expect(server.calls).toEqual([])
    expect(client.state).toEqual({ kind: 'closed', error: undefined })
  })
})
