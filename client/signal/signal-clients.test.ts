import { ErrorReason, MeshError, seededRandom, signingKeyFromSeed, toHex, type VirtualClock } from '@mesh/core'
import { NoticeKind } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { restingClock } from '../testing/at-rest.fixture.ts'
import { FakeServer } from './fake-server.fixture.ts'
import { sameProcess } from './session-order.ts'
import { SignalClients } from './signal-clients.ts'

const A = 'https://a.example'
const B = 'https://b.example'
const C = 'https://c.example'
const NONE = new Uint8Array(0)
let clock: VirtualClock
let servers: Map<string, FakeServer>
let clients: SignalClients
/** "added https://a", "opened https://a" ..., in order. */
let log: string[]
let failure: MeshError | undefined
let messages: number[]
/** Origins that list the recipient, and those the client would miss nobody without. */
let listing: string[]
let replaceable: string[]

beforeEach(async () => {
  clock = restingClock()
  servers = new Map()
  for (const [i, origin] of [A, B, C].entries()) servers.set(origin, await FakeServer.create(clock, i + 1))
  log = []
  failure = undefined
  messages = []
  listing = [A, B, C]
  replaceable = []
})
afterEach(async () => {
  await clients.close()
  expect(clock.pending).toBe(0)
})

function server(origin: string): FakeServer {
  return servers.get(origin) as FakeServer
}

async function make(origins: string[], options: { pins?: Uint8Array[]; seed?: number } = {}): Promise<void> {
  clients = new SignalClients({
    servers: { origins, serverKeys: options.pins },
    connect: (origin) => server(origin).transport(true),
    key: await signingKeyFromSeed(new Uint8Array(32).fill(9)),
    clock,
    random: seededRandom(options.seed ?? 1),
    events: {
      added: ({ origin }) => log.push(`added ${origin}`),
      removed: ({ origin }) => log.push(`removed ${origin}`),
      opened: ({ origin }) => log.push(`opened ${origin}`),
      connected: ({ origin }) => log.push(`connected ${origin}`),
      members: ({ origin }) => log.push(`members ${origin}`),
      gap: ({ origin }) => log.push(`gap ${origin}`),
      changed: () => {},
      message: ({ ttlMs }) => messages.push(ttlMs),
      failed: (error) => {
        failure = error
      },
      isReplaceable: ({ origin }) => replaceable.includes(origin),
    },
  })
  clients.start()
  await clock.advance(0)
}

/** Says something on the newest streams, so that clients count as connected. */
async function beat(...origins: string[]): Promise<void> {
  for (const origin of origins) server(origin).stream.heartbeat()
  await clock.advance(0)
}

async function connect(origins: string[], options?: Parameters<typeof make>[1]): Promise<void> {
  await make(origins, options)
  await beat(...origins)
  expect(clients.servers.map(({ state }) => state)).toEqual(origins.map(() => 'connected'))
  log.length = 0
}

/** Lets a server refuse whatever comes, and ends its streams. */
function kill(origin: string): void {
  const gone = new MeshError(ErrorReason.UNREACHABLE, `${origin} is down`)
  for (const call of ['challenge', 'open', 'exchange']) {
    server(origin).refuseNext(call, ...Array.from({ length: 500 }, () => gone))
  }
  for (const stream of server(origin).streams) stream.end(gone)
}

function revive(origin: string): void {
  server(origin).refusals.clear()
  server(origin).forgetSessions()
}

function send(number: number) {
  const envelope = { to: NONE, topic: NONE, ttlMs: 0, payload: Uint8Array.of(number) }
  return clients.send(envelope, ({ origin }) => listing.includes(origin))
}

function drain(origin: string, successor = '', successorKey: Uint8Array = NONE): void {
  const value = { kind: NoticeKind.DRAINING, deadlineMs: 10_000, successor, successorKey }
  server(origin).stream.event(0n, { case: 'notice', value })
}

function where(): string[] {
  return clients.servers.map(({ origin, state }) => `${origin} ${state}`)
}

describe('signaling clients', () => {
  it('have a session at each server, all of one process', async () => {
    await connect([A, B])
    const orders = [...server(A).orders, ...server(B).orders]
    expect(new Set(orders).size).toBe(2)
    expect(sameProcess(orders[0] as bigint, orders[1] as bigint)).toBe(true)
    expect(clients.sessions).toHaveLength(2)
    expect(new Set(clients.sessions.map(({ keyId }) => toHex(keyId))).size).toBe(2)
    expect(clients.iceServers).toHaveLength(4)
  })

  it('are connected with the first server that answers, and go on trying the others', async () => {
    await make([A, B])
    kill(B)
    await beat(A)
    expect([clients.state.kind, clients.isUp]).toEqual(['connected', true])
    await clock.advance(5_000)
    expect(where()).toEqual([`${A} connected`, `${B} waiting`])
    revive(B)
    for (let i = 0; i < 20; i++) {
      await clock.advance(1_000)
      await beat(A)
    }
    await beat(B)
    expect(where()).toEqual([`${A} connected`, `${B} connected`])
    expect(failure).toBeUndefined()
  })

  it('send on every server that lists the recipient, under one id', async () => {
    await connect([A, B, C])
    // A server that answered at once would have the others' copies taken back before they leave.
    for (const origin of [A, B, C]) server(origin).answers = false
    listing = [A, C]
    send(1).catch(() => undefined)
    await clock.advance(0)
    const ids = [A, B, C].map((origin) => server(origin).received.map(({ id }) => toHex(id)))
    expect(ids[0]).toHaveLength(1)
    expect(ids).toEqual([ids[0], [], ids[0]])
    listing = []
    send(2).catch(() => undefined)
    await clock.advance(0)
    expect([A, B, C].map((origin) => server(origin).received.length)).toEqual([2, 1, 2])
  })

  it('send through a server that is up, whatever one that is down lists, and wait when all are down', async () => {
    await connect([A, B])
    kill(A)
    await clock.advance(0)
    listing = [A]
    expect(await Promise.all([send(1), clock.advance(0)])).toEqual(['delivered', undefined])
    expect(server(B).received).toHaveLength(1)
    kill(B)
    await clock.advance(0)
    const waiting = send(2)
    await clock.advance(5_000)
    revive(B)
    while (server(B).streams.length < 2) await clock.advance(500)
    await beat(B)
    expect(await waiting).toBe('delivered')
    expect(server(A).received).toEqual([])
  })

  it('hand an envelope out once, whichever server brings it first, and one that was altered beside it', async () => {
    await connect([A, B])
    const message = (ttlMs: number, payload: number) => ({
      case: 'message' as const,
      value: { id: new Uint8Array(16), from: new Uint8Array(32), ttlMs, payload: Uint8Array.of(payload) },
    })
    server(B).stream.event(1n, message(1, 66))
    await clock.advance(0)
    server(A).stream.event(1n, message(2, 1))
    await clock.advance(0)
    server(B).stream.event(2n, message(3, 66))
    await clock.advance(0)
    expect(messages).toEqual([1, 2])
  })

  it('fail when every server is closed for good, with an error that names each', async () => {
    await make([A, B], { pins: [new Uint8Array(32).fill(77)] })
    await clock.advance(1_000)
    expect(failure).toMatchObject({ reason: ErrorReason.SERVER_KEY_MISMATCH, retryable: false })
    expect(failure?.message).toContain(A)
    expect(failure?.message).toContain(B)
    expect(failure?.cause).toMatchObject({ errors: [{}, {}] })
    await expect(send(1)).rejects.toBeInstanceOf(MeshError)
  })

  it('go on with one server when the other turns out to be another than the pinned', async () => {
    await make([A, B], { pins: [server(A).key.publicKey] })
    await beat(A)
    expect(where()).toEqual([`${A} connected`, `${B} closed`])
    expect([clients.state.kind, failure]).toEqual(['connected', undefined])
  })

  it('say why nothing can be reached, server by server', async () => {
    await make([A, B])
    kill(A)
    kill(B)
    await clock.advance(100)
    const { state } = clients
    expect(state.kind === 'waiting' && state.error.message).toMatch(/a\.example: .*; .*b\.example: /)
  })

  it('keep a second name of one server in reserve, for when the first stops working', async () => {
    servers.set(B, server(A))
    await make([A, B])
    await beat(A)
    expect(where()).toEqual([`${A} connected`, `${B} waiting`])
    expect(server(A).orders).toHaveLength(1)
    for (let i = 0; i < 5; i++) {
      await clock.advance(10_000)
      await beat(A)
    }
    expect(server(A).orders).toHaveLength(1)
  })

  it('wait for an older life of theirs at one server, when they have a session at another', async () => {
    await make([A])
    await beat(A)
    await clients.close()
    const ahead = (server(A).orders[0] as bigint) + (1n << 30n)
    const replaced = new MeshError(ErrorReason.SESSION_REPLACED, 'older life', { value: ahead })
    // B answers later than A, so the process has its name by then.
    server(B).refuseNext('challenge', new MeshError(ErrorReason.UNREACHABLE, 'slow'))
    server(B).refuseNext('open', replaced, replaced)
    await make([A, B])
    await beat(A)
    await clock.advance(3_000)
    expect(where()).toEqual([`${A} connected`, `${B} connecting`])
    await beat(B)
    const { orders } = server(B)
    expect(sameProcess(orders.at(-1) as bigint, server(A).orders.at(-1) as bigint)).toBe(true)
  })
})

describe('a server that drains', () => {
  it('is left for its successor: joined there first, and let go when nobody would be missed', async () => {
    await connect([A])
    drain(A, C, server(C).key.publicKey)
    await clock.advance(6_000)
    await beat(A, C)
    expect(log).toEqual([`added ${C}`, `opened ${C}`, `connected ${C}`])
    expect(where()).toEqual([`${A} connected`, `${C} connected`])
    replaceable = [A]
    await clock.advance(500)
    expect(where()).toEqual([`${C} connected`])
    expect(log.at(-1)).toBe(`removed ${A}`)
    expect(server(A).calls.at(-1)).toBe('close')
    expect(clients.isUp).toBe(true)
  })

  it('is left when it ends the stream, if somebody would be missed until then', async () => {
    await connect([A])
    drain(A, C, server(C).key.publicKey)
    await clock.advance(6_000)
    await beat(A, C)
    kill(A)
    await clock.advance(0)
    expect(where()).toEqual([`${C} connected`])
    await clock.advance(20_000)
    expect(clients.servers).toHaveLength(1)
  })

  it('is left by its clients one after the other, over three fifths of the time', async () => {
    const moved: number[] = []
    for (let seed = 1; seed <= 20; seed++) {
      await connect([A], { seed })
      const startMs = clock.monotonicMs()
      drain(A, C, server(C).key.publicKey)
      await clock.advance(0)
      const before = server(C).tokens.length
      while (server(C).tokens.length === before) await clock.advance(100)
      moved.push(clock.monotonicMs() - startMs)
      await clients.close()
    }
    expect(Math.max(...moved)).toBeLessThanOrEqual(6_100)
    expect(Math.max(...moved)).toBeGreaterThan(4_500)
    expect(Math.min(...moved)).toBeLessThan(1_500)
  })

  it('is not left for a successor without a key, nor for one with another key than named', async () => {
    await connect([A])
    drain(A, C)
    await clock.advance(12_000)
    expect(server(C).calls).toEqual([])
    drain(A, C, new Uint8Array(32).fill(5))
    await clock.advance(12_000)
    await beat(A)
    expect(server(C).calls).toEqual([])
    expect(where()).toEqual([`${A} connected`])
  })

  it('gets its place back when its successor is lost', async () => {
    await connect([A])
    drain(A, C, server(C).key.publicKey)
    await clock.advance(6_000)
    await beat(A, C)
    replaceable = [A]
    await clock.advance(500)
    kill(C)
    await clock.advance(1_000)
    await beat(A)
    expect(where()).toEqual([`${A} connected`])
    expect(log.filter((entry) => entry.startsWith('removed'))).toEqual([`removed ${A}`, `removed ${C}`])
  })

  it('is let go early when another server of the list lists everybody, and joined again after its time', async () => {
    await connect([A, B])
    replaceable = [A]
    drain(A)
    await clock.advance(0)
    expect(where()).toEqual([`${A} waiting`, `${B} connected`])
    const { length } = server(A).streams
    await clock.advance(9_000)
    await beat(B)
    expect(server(A).streams).toHaveLength(length)
    await clock.advance(9_000)
    await beat(A, B)
    expect(where()).toEqual([`${A} connected`, `${B} connected`])
  })

  it('does not bring a second session to a server the client is at already', async () => {
    await connect([A, B])
    drain(A, B, server(B).key.publicKey)
    await clock.advance(12_000)
    expect(server(B).tokens).toHaveLength(1)
    expect(clients.servers).toHaveLength(2)
  })
})
