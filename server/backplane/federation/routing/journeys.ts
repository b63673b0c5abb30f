import { ErrorReason, MeshError } from '@mesh/core'
import type { ByteKey } from '../../../byte-key.ts'
import type { ServerLimits } from '../../../limits/server-limits.ts'
import type { Journey } from './journey.ts'

/** What began towards one server. */
interface Load {
  count: number
  bytes: number
}

/**
 * The envelopes that this server tries to get to others. Bounded for each server they began towards, by count and bytes, so
 * that one that does not answer takes no room from the rest.
 */
export class Journeys {
  readonly #limits: ServerLimits
  /** And the server they began towards. */
  readonly #journeys = new Map<Journey, ByteKey>()
  readonly #loads = new Map<ByteKey, Load>()
  readonly #byRecipient = new Map<ByteKey, Set<Journey>>()
  readonly #byTopic = new Map<ByteKey, Set<Journey>>()

  constructor(limits: ServerLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#journeys.size
  }

  /** A copy: journeys may end while they are visited. */
  all(): Journey[] {
    return [...this.#journeys.keys()]
  }

  /** Those to one peer, in the order they began; a copy. */
  to(peer: ByteKey): Journey[] {
    return [...(this.#byRecipient.get(peer) ?? [])]
  }

  hasTopic(topicKey: ByteKey): boolean {
    return this.#byTopic.has(topicKey)
  }

  /** An error when there is no room for more towards that server. */
  add(journey: Journey, server: ByteKey): MeshError | undefined {
    const { federationMaxAttempts, federationMaxQueueBytes } = this.#limits
    const { to, topicKey, bytes } = journey.envelope
    const load = this.#loads.get(server) ?? { count: 0, bytes: 0 }
    if (load.count >= federationMaxAttempts || load.bytes + bytes.byteLength > federationMaxQueueBytes) {
      const message = 'too many envelopes wait for the server of the recipient'
      return new MeshError(ErrorReason.RECIPIENT_SLOW, message, { retryAfterMs: 1_000 })
    }
    load.count += 1
    load.bytes += bytes.byteLength
    this.#loads.set(server, load)
    this.#journeys.set(journey, server)
    addTo(this.#byRecipient, to, journey)
    addTo(this.#byTopic, topicKey, journey)
    return undefined
  }

  delete(journey: Journey): void {
    const server = this.#journeys.get(journey)
    if (server === undefined) return
    const { to, topicKey, bytes } = journey.envelope
    const load = this.#loads.get(server) as Load
    load.count -= 1
    load.bytes -= bytes.byteLength
    if (load.count === 0) this.#loads.delete(server)
    this.#journeys.delete(journey)
    removeFrom(this.#byRecipient, to, journey)
    removeFrom(this.#byTopic, topicKey, journey)
  }
}

function addTo(index: Map<ByteKey, Set<Journey>>, key: ByteKey, journey: Journey): void {
  const known = index.get(key)
  if (known === undefined) index.set(key, new Set([journey]))
  else known.add(journey)
}

function removeFrom(index: Map<ByteKey, Set<Journey>>, key: ByteKey, journey: Journey): void {
  const known = index.get(key)
  known?.delete(journey)
  if (known?.size === 0) index.delete(key)
}
