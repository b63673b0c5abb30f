import { ErrorReason, MeshError } from '@mesh/core'
import { OutcomeStatus } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { limitError } from '../../limits/server-limits.ts'
import type { OutgoingEnvelope } from '../../router/envelope.ts'
import { RequestOutcomes } from '../../router/outcome.ts'
import { type Session, sessionEndError } from '../../session/session.ts'
import type { SignalCore } from './signal-core.ts'

/**
 * Routes the envelopes of one request, in order.
 * @throws MeshError when the request as a whole is refused: the session ended, INVALID_ARGUMENT (no envelope), LIMIT_EXCEEDED
 * (max_envelopes_per_request).
 */
export function routeAll(core: SignalCore, session: Session, envelopes: readonly OutgoingEnvelope[]): RequestOutcomes {
  if (session.end !== undefined) throw sessionEndError(session.end)
  const { maxEnvelopesPerRequest } = core.limits
  if (envelopes.length > maxEnvelopesPerRequest) {
    throw limitError('maxEnvelopesPerRequest', maxEnvelopesPerRequest, { value: envelopes.length })
  }
  const outcomes = new RequestOutcomes(envelopes.length)
  for (const [index, envelope] of envelopes.entries()) {
    core.router.route(session, envelope, (outcome) => {
      core.metrics.envelopes.add(labelOf(outcome.status))
      outcomes.settle(index, outcome)
    })
  }
  return outcomes
}

/** The refusal of a SendMessage without envelopes. */
export function noEnvelopes(): MeshError {
  return new MeshError(ErrorReason.INVALID_ARGUMENT, 'SendMessage needs at least one envelope')
}

function labelOf(status: OutcomeStatus): 'delivered' | 'held' | 'refused' {
  if (status === OutcomeStatus.DELIVERED) return 'delivered'
  return status === OutcomeStatus.HELD ? 'held' : 'refused'
}
