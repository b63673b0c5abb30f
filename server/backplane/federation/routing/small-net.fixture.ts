import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { concatBytes, type Random, type Timer, VirtualClock } from '@mesh/core'
import {
  FederationLimitsSchema,
  type Frame,
  FrameSchema,
} from '@mesh/protocol/mesh/federation/v1/federation_service_pb'
import { EnvelopeSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { type ByteKey, byteKey } from '../../../byte-key.ts'
import { resolveLimits, type ServerLimits } from '../../../limits/server-limits.ts'
import { outgoingEnvelope } from '../../../router/envelope.ts'
import { senderStamp } from '../../../session/event-codec.ts'
import { SentIds } from '../../../session/sent-ids.ts'
import { keyBytes, sessionBytes } from '../../../testing/records.ts'
import type { Arrival, RoutedEnvelope } from '../../backplane.ts'
import type { Home } from '../home.ts'
import { Routing } from './routing.ts'

export const TOPIC = byteKey(keyBytes(1))

/** The server with this number. */
export function serverKey(number: number): ByteKey {
  return byteKey(keyBytes(200 + number))
}

let lastId = 0

/** An envelope to a peer, from one that is a member everywhere. */
export function envelopeTo(to: number, fields: { ttlMs?: number; toSession?: Uint8Array; payload?: number } = {}) {
  lastId += 1
  const id = sessionBytes(0)
  new DataView(id.buffer).setUint32(0, lastId)
  const { ttlMs = 0, toSession = new Uint8Array(), payload = 1 } = fields
  const from = keyBytes(99)
  const envelope = create(EnvelopeSchema, {
    id,
    to: keyBytes(to),
    topic: keyBytes(1),
    toSession,
    ttlMs,
    payload: new Uint8Array(payload),
  })
  const outgoing = outgoingEnvelope(envelope)
  const stamped = concatBytes(outgoing.bytes, senderStamp(from, sessionBytes(99)))
  return { ...outgoing, from: byteKey(from), bytes: stamped } satisfies RoutedEnvelope
}

/** One server: its routing, and who has a session there. */
export class Node {
  readonly key: ByteKey
  readonly routing: Routing
  /** Sessions here by peer, and what each answers. */
  readonly here = new Map<ByteKey, Arrival>()
  /** What arrived, once for each time that it was handed to a session. */
  readonly delivered: RoutedEnvelope[] = []
  readonly #ids = new SentIds(1_024)

  constructor(net: SmallNet, key: ByteKey) {
    this.key = key
    this.routing = new Routing({
      self: key,
      limits: net.limits,
      clock: net.clock,
      random: net.random,
      homesOf: (topicKey, peer) => (topicKey === TOPIC ? (net.homes.get(peer) ?? []) : []),
      deliver: (envelope) => this.#deliver(envelope),
      wake: (server) => net.wake(key, server),
    })
  }

  #deliver(envelope: RoutedEnvelope): Arrival {
    const ids = this.#ids.of(envelope.from)
    const fate = ids.fateOf(envelope.id)
    if (fate === 'delivered' || fate === 'held') return fate
    const arrival = this.here.get(envelope.to) ?? 'absent'
    if (arrival === 'delivered' || arrival === 'held') {
      ids.set(envelope.id, arrival)
      this.delivered.push(envelope)
    }
    return arrival
  }
}

/** What a stream may do to a frame. */
export type Fate = 'arrives' | 'vanishes' | 'comes twice'

/**
 * A few servers whose streams a test holds in its hand: frames take `delayMs`, and what `fate` says happens to them. They are
 * serialised on the way.
 */
export class SmallNet {
  readonly clock = new VirtualClock()
  readonly limits: ServerLimits
  readonly random: Random
  readonly nodes: Node[]
  /** What every server believes of where peers are. */
  readonly homes = new Map<ByteKey, Home[]>()
  /** Every frame that was sent. */
  readonly frames: { readonly from: ByteKey; readonly to: ByteKey; readonly frame: Frame }[] = []
  delayMs: () => number = () => 1
  fate: (from: ByteKey, to: ByteKey, frame: Frame) => Fate = () => 'arrives'
  /** Generation of the stream from one server to another; odd while it is up. */
  readonly #streams = new Map<string, number>()
  readonly #pulls = new Map<string, Timer>()

  constructor(random: Random, count: number, limits: Partial<ServerLimits> = {}) {
    this.random = random
    this.limits = resolveLimits(limits)
    this.nodes = Array.from({ length: count }, (_, number) => new Node(this, serverKey(number)))
  }

  node(key: ByteKey): Node {
    return this.nodes.find((node) => node.key === key) as Node
  }

  /** Every server sees the peer at these, the first with the highest order. */
  place(peer: number, ...servers: number[]): void {
    const key = byteKey(keyBytes(peer))
    const homes = servers.map((server, index) => ({
      server: serverKey(server),
      session: byteKey(sessionBytes(10 * peer + server)),
      order: BigInt(servers.length - index),
    }))
    this.homes.set(key, homes)
    for (const { routing } of this.nodes) routing.homesChanged(TOPIC, key)
  }

  isUp(a: number, b: number): boolean {
    return this.#generation(serverKey(a), serverKey(b)) % 2 === 1
  }

  connect(a: number, b: number): void {
    if (this.isUp(a, b)) return
    for (const [from, to] of both(serverKey(a), serverKey(b))) {
      this.#streams.set(from + to, this.#generation(from, to) + 1)
      this.node(from).routing.up({
        server: to,
        epoch: 1n,
        have: [],
        limits: create(FederationLimitsSchema, { maxRequestBytes: this.limits.federationMaxRequestBytes }),
      })
      this.wake(from, to)
    }
  }

  connectAll(): void {
    for (let a = 0; a < this.nodes.length; a++) for (let b = 0; b < a; b++) this.connect(a, b)
  }

  disconnect(a: number, b: number): void {
    if (!this.isUp(a, b)) return
    for (const [from, to] of both(serverKey(a), serverKey(b))) {
      this.#streams.set(from + to, this.#generation(from, to) + 1)
      this.node(from).routing.down(to)
    }
  }

  wake(from: ByteKey, to: ByteKey): void {
    if (this.#pulls.has(from + to)) return
    const pull = this.clock.schedule(0, () => {
      this.#pulls.delete(from + to)
      this.#pull(from, to)
    })
    this.#pulls.set(from + to, pull)
  }

  #generation(from: ByteKey, to: ByteKey): number {
    return this.#streams.get(from + to) ?? 0
  }

  #pull(from: ByteKey, to: ByteKey): void {
    const { routing } = this.node(from)
    for (let frame = routing.next(to); frame !== undefined; frame = routing.next(to)) this.#send(from, to, frame)
  }

  #send(from: ByteKey, to: ByteKey, frame: Frame): void {
    this.frames.push({ from, to, frame })
    const bytes = toBinary(FrameSchema, frame)
    const generation = this.#generation(from, to)
    const arrive = (): void => {
      if (this.#generation(from, to) === generation) this.node(to).routing.receive(from, fromBinary(FrameSchema, bytes))
    }
    const fate = this.fate(from, to, frame)
    const copies = fate === 'arrives' ? 1 : fate === 'vanishes' ? 0 : 2
    for (let copy = 0; copy < copies; copy++) this.clock.schedule(this.delayMs(), arrive)
  }
}

function both(a: ByteKey, b: ByteKey): [ByteKey, ByteKey][] {
  return [
    [a, b],
    [b, a],
  ]
}
