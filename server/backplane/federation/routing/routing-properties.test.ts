import { fromBinary } from '@bufbuild/protobuf'
import { equalBytes, type Random, seededRandom } from '@mesh/core'
import { EnvelopeSchema } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { describe, expect, test } from 'vitest'
import { byteKey } from '../../../byte-key.ts'
import { keyBytes } from '../../../testing/records.ts'
import type { RemoteDelivery, RoutedEnvelope } from '../../backplane.ts'
import { envelopeTo, type Fate, SmallNet, serverKey } from './small-net.fixture.ts'

const SEEDS = 300
const SERVERS = 3
const PEERS = [2, 3, 4]
const STEPS = 60

interface Sent {
  readonly envelope: RoutedEnvelope
  readonly from: number
  readonly atMs: number
  outcome?: RemoteDelivery
  settledAtMs?: number
}

/** A network whose frames are late, lost and doubled, whose streams break, and whose peers move, as the seed says. */
class Turmoil {
  readonly random: Random
  readonly net: SmallNet
  readonly sent: Sent[] = []
  readonly #lossy: number

  constructor(seed: number) {
    this.random = seededRandom(seed)
    const federationReceiptMs = 100 + this.#below(400)
    this.net = new SmallNet(this.random, SERVERS, { federationReceiptMs, federationMaxAttempts: 5 + this.#below(50) })
    this.#lossy = this.random.uniform() * 0.4
    this.net.delayMs = () => 1 + this.#below(150)
    this.net.fate = () => this.#fate()
    this.net.connectAll()
    for (const peer of PEERS) this.#move(peer)
  }

  async run(): Promise<void> {
    for (let step = 0; step < STEPS; step++) {
      this.#act()
      await this.net.clock.advance(this.#below(120))
    }
  }

  /** Nothing goes wrong any more, and every ttl passes. */
  async calm(): Promise<void> {
    this.net.fate = () => 'arrives'
    this.net.connectAll()
    await this.net.clock.advance(40_000)
  }

  #act(): void {
    const what = this.random.uniform()
    const [a, b] = [this.#below(SERVERS), this.#below(SERVERS)]
    if (what < 0.6) this.#send()
    else if (what < 0.7) this.#move(PEERS[this.#below(PEERS.length)] as number)
    else if (a === b) return
    else if (what < 0.85) this.net.disconnect(a, b)
    else this.net.connect(a, b)
  }

  #send(): void {
    const from = this.#below(SERVERS)
    const ttlMs = this.random.uniform() < 0.5 ? 0 : 1 + this.#below(10_000)
    const envelope = envelopeTo(PEERS[this.#below(PEERS.length)] as number, { ttlMs })
    const sent: Sent = { envelope, from, atMs: this.net.clock.monotonicMs() }
    const isUnderWay = this.net.nodes[from]?.routing.send(envelope, (result) => {
      expect(sent.outcome).toBeUndefined()
      sent.outcome = result
      sent.settledAtMs = this.net.clock.monotonicMs()
    })
    if (isUnderWay) this.sent.push(sent)
  }

  /** The peer is at some servers, and others may believe something else for a while: there is no session behind a home. */
  #move(peer: number): void {
    const homes = [0, 1, 2].filter(() => this.random.uniform() < 0.5).sort(() => this.random.uniform() - 0.5)
    const key = byteKey(keyBytes(peer))
    for (const { here } of this.net.nodes) here.delete(key)
    for (const home of homes) {
      if (this.random.uniform() < 0.2) continue
      this.net.nodes[home]?.here.set(key, this.random.uniform() < 0.8 ? 'delivered' : 'held')
    }
    this.net.place(peer, ...homes)
  }

  #fate(): Fate {
    const what = this.random.uniform()
    if (what < this.#lossy) return 'vanishes'
    return what < this.#lossy * 1.3 ? 'comes twice' : 'arrives'
  }

  #below(limit: number): number {
    return Math.floor(this.random.uniform() * limit)
  }
}

describe('routing in turmoil', () => {
  test(`keeps its promises for ${SEEDS} seeds`, { timeout: 60_000 }, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const turmoil = new Turmoil(seed)
      await turmoil.run()
      await turmoil.calm()
      const faults = [...settling(turmoil), ...truth(turmoil), ...copies(turmoil), ...hops(turmoil), ...rest(turmoil)]
      expect(faults, `seed ${seed}`).toEqual([])
    }
  })
})

/** Every send settles within its ttl, or two receipts' time. */
function settling({ sent, net }: Turmoil): string[] {
  const patienceMs = 2 * net.limits.federationReceiptMs
  return sent
    .filter(({ envelope, atMs, settledAtMs }) => {
      const limitMs = envelope.ttlMs > 0 ? Math.min(envelope.ttlMs, patienceMs) : patienceMs
      return settledAtMs === undefined || settledAtMs - atMs > limitMs
    })
    .map(({ atMs, settledAtMs, envelope }) => `sent at ${atMs} with ttl ${envelope.ttlMs}, settled at ${settledAtMs}`)
}

/** What is reported delivered was handed to a session; what is reported absent was not. */
function truth({ sent, net }: Turmoil): string[] {
  return sent
    .filter(({ outcome, envelope }) => {
      const arrived = net.nodes.some(({ delivered }) => delivered.some(({ id }) => equalBytes(id, envelope.id)))
      return (outcome === 'delivered' && !arrived) || (outcome === 'absent' && arrived)
    })
    .map(({ atMs, outcome }) => `sent at ${atMs}, reported ${outcome}`)
}

/** No server hands the same envelope to its sessions twice. */
function copies({ net }: Turmoil): string[] {
  return net.nodes.flatMap(({ delivered }) => {
    const ids = delivered.map(({ id }) => byteKey(id))
    return ids.filter((id, index) => ids.indexOf(id) !== index).map(() => 'delivered twice')
  })
}

/** An envelope is passed on by a server that was asked to, and by no second one. */
function hops({ net, sent }: Turmoil): string[] {
  const origins = new Map(sent.map(({ envelope, from }) => [byteKey(envelope.id), serverKey(from)]))
  return net.frames.flatMap(({ from, frame: { frame } }) => {
    if (frame.case !== 'envelopes') return []
    return frame.value.envelopes
      .filter(({ envelope, destination }) => {
        const isOrigin = origins.get(byteKey(fromBinary(EnvelopeSchema, envelope).id)) === from
        return !isOrigin && destination.length > 0
      })
      .map(() => 'passed on twice')
  })
}

/** Nothing is left when everything is over. */
function rest({ net }: Turmoil): string[] {
  const left = net.nodes.filter(({ routing }) => routing.journeys + routing.attempts > 0)
  return [...left.map(() => 'something is still on its way'), ...(net.clock.pending > 0 ? ['a timer is left'] : [])]
}
