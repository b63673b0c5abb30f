import { ErrorReason, MeshError } from '@mesh/core'
import { OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'

/** What happened to one envelope; `error` says why it was refused. */
export class EnvelopeOutcome {
  readonly id: Uint8Array
  readonly status: OutcomeStatus
  readonly error: MeshError | undefined

  constructor(id: Uint8Array, status: OutcomeStatus, error: MeshError | undefined) {
    this.id = id
    this.status = status
    this.error = error
  }
}

/**
 * The outcomes of one request, in the order of its envelopes. Complete at once unless another server has a recipient. Not one
 * promise for each envelope: those would cost as much as everything else that is done for it.
 */
export class RequestOutcomes {
  readonly #outcomes: EnvelopeOutcome[]
  #missing: number
  #onComplete: ((outcomes: readonly EnvelopeOutcome[]) => void) | undefined

  constructor(count: number) {
    this.#outcomes = new Array(count)
    this.#missing = count
  }

  /** Undefined until every one is there. */
  get all(): readonly EnvelopeOutcome[] | undefined {
    return this.#missing === 0 ? this.#outcomes : undefined
  }

  /** To be called once for each envelope of the request. */
  settle(index: number, outcome: EnvelopeOutcome): void {
    this.#outcomes[index] = outcome
    this.#missing -= 1
    if (this.#missing === 0) this.#onComplete?.(this.#outcomes)
  }

  /** Calls `listener` when every outcome is there, at once if they are. Set once; it must not throw. */
  whenComplete(listener: (outcomes: readonly EnvelopeOutcome[]) => void): void {
    this.#onComplete = listener
    if (this.#missing === 0) listener(this.#outcomes)
  }
}

export function refused(id: Uint8Array, error: MeshError): EnvelopeOutcome {
  return new EnvelopeOutcome(id, OutcomeStatus.REFUSED, error)
}

export function notMember(): MeshError {
  return new MeshError(ErrorReason.NOT_MEMBER, 'the sender is not a member of the topic')
}

export function duplicate(): MeshError {
  return new MeshError(ErrorReason.DUPLICATE, 'an envelope with this id was accepted before')
}

export function absent(): MeshError {
  return new MeshError(ErrorReason.RECIPIENT_ABSENT, 'the recipient is not here', { retryable: true })
}

export function unanswered(): MeshError {
  return new MeshError(ErrorReason.RECIPIENT_TIMEOUT, 'the server of the recipient did not answer in time')
}

export function slow(): MeshError {
  return new MeshError(ErrorReason.RECIPIENT_SLOW, 'the queue of the recipient is full', { retryAfterMs: 1_000 })
}
