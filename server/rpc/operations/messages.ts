import { ErrorReason, MeshError } from '@mesh/core'
import { OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { limitError } from '../../limits/server-limits.ts'
import type { OutgoingEnvelope } from '../../router/envelope.ts'
import type { EnvelopeOutcome, Routed } from '../../router/router.ts'
import { type Session, sessionEndError } from '../../session/session.ts'
import type { SignalCore } from './signal-core.ts'

/**
 * Routes the envelopes of one request, in order. One result per envelope; all are outcomes already unless another server is
 * involved.
 * @throws MeshError when the request as a whole is refused: the session ended, INVALID_ARGUMENT (no envelope), LIMIT_EXCEEDED
 * (max_envelopes_per_request).
 */
export function routeAll(core: SignalCore, session: Session, envelopes: readonly OutgoingEnvelope[]): Routed[] {
  if (session.end !== undefined) throw sessionEndError(session.end)
  const { maxEnvelopesPerRequest } = core.limits
  if (envelopes.length > maxEnvelopesPerRequest) {
    throw limitError('maxEnvelopesPerRequest', maxEnvelopesPerRequest, { value: envelopes.length })
  }
  return envelopes.map((envelope) => {
    const routed = core.router.route(session, envelope)
    if (routed instanceof Promise) return routed.then((outcome) => count(core, outcome))
    return count(core, routed)
  })
}

/** The refusal of a SendMessage without envelopes. */
export function noEnvelopes(): MeshError {
  return new MeshError(ErrorReason.INVALID_ARGUMENT, 'SendMessage needs at least one envelope')
}

function count(core: SignalCore, outcome: EnvelopeOutcome): EnvelopeOutcome {
  core.metrics.envelopes.add(labelOf(outcome.status))
  return outcome
}

function labelOf(status: OutcomeStatus): 'delivered' | 'held' | 'refused' {
  if (status === OutcomeStatus.DELIVERED) return 'delivered'
  return status === OutcomeStatus.HELD ? 'held' : 'refused'
}
