import { ErrorReason, MeshError } from '@mesh/core'
import { mostTelling } from './combined-error.ts'
import type { IdentifiedEnvelope, SendOutcome } from './outbox.ts'

/** What takes envelopes to one server. */
export interface Carrier {
  /** See Outbox.send. */
  send(envelope: IdentifiedEnvelope, signal: AbortSignal): Promise<SendOutcome>
}

/**
 * Envelopes that go through several servers at once. The first server that delivers settles the envelope, and the copies that
 * still wait elsewhere are taken back; it fails when every server has refused it. A server that goes down holds nothing up:
 * what it has not answered is left to the others, and goes through the next one that comes up when it was the last hope.
 */
export class FanOut {
  readonly #pending = new Set<Delivery>()

  /** Envelopes that some server has not answered yet; bounded by the outboxes of the servers. */
  get pending(): number {
    return this.#pending.size
  }

  /**
   * Resolves with what the first server did that took it; rejects with the most telling refusal when none did.
   * `carriers`: at least one.
   */
  send(envelope: IdentifiedEnvelope, carriers: readonly Carrier[]): Promise<SendOutcome> {
    return new Promise((resolve, reject) => {
      const delivery = new Delivery(envelope, { resolve, reject, done: () => this.#pending.delete(delivery) })
      this.#pending.add(delivery)
      for (const carrier of carriers) delivery.add(carrier)
    })
  }

  /** A server can be reached: it gets what waits only for servers that cannot. */
  up(carrier: Carrier, isUp: (other: Carrier) => boolean): void {
    for (const delivery of [...this.#pending]) if (!delivery.carriers.some(isUp)) delivery.add(carrier)
  }

  /** A server cannot be reached any more, while another one can: its copies are taken back. */
  down(carrier: Carrier): void {
    for (const delivery of [...this.#pending]) delivery.takeBack(carrier)
  }
}

interface DeliveryEnd {
  readonly resolve: (outcome: SendOutcome) => void
  readonly reject: (error: MeshError) => void
  /** No copy is on its way any more. */
  readonly done: () => void
}

/** One envelope and its copies. */
class Delivery {
  readonly #envelope: IdentifiedEnvelope
  readonly #end: DeliveryEnd
  readonly #copies = new Map<Carrier, AbortController>()
  readonly #errors: MeshError[] = []

  constructor(envelope: IdentifiedEnvelope, end: DeliveryEnd) {
    this.#envelope = envelope
    this.#end = end
  }

  /** Servers that have a copy and have not answered. */
  get carriers(): Carrier[] {
    return [...this.#copies.keys()]
  }

  add(carrier: Carrier): void {
    const copy = new AbortController()
    this.#copies.set(carrier, copy)
    carrier.send(this.#envelope, copy.signal).then(
      (outcome) => {
        if (this.#copies.get(carrier) === copy) this.#taken(carrier, outcome)
      },
      (error: MeshError) => {
        if (this.#copies.get(carrier) === copy) this.#remove(carrier, error)
      },
    )
  }

  takeBack(carrier: Carrier): void {
    const copy = this.#copies.get(carrier)
    if (!copy) return
    this.#remove(carrier, new MeshError(ErrorReason.UNREACHABLE, 'the server went down before it answered'))
    copy.abort()
  }

  #taken(carrier: Carrier, outcome: SendOutcome): void {
    this.#end.resolve(outcome)
    this.#copies.delete(carrier)
    if (outcome === 'delivered') {
      const rest = [...this.#copies.values()]
      this.#copies.clear()
      for (const copy of rest) copy.abort()
    }
    if (this.#copies.size === 0) this.#end.done()
  }

  #remove(carrier: Carrier, error: MeshError): void {
    this.#copies.delete(carrier)
    this.#errors.push(error)
    if (this.#copies.size > 0) return
    // Without effect when a server holds it already.
    this.#end.reject(mostTelling(this.#errors))
    this.#end.done()
  }
}
