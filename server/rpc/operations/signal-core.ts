import type { Clock, SigningKey } from '@mesh/core'
import type { IceServer } from '@mesh/protocol/mesh/signal/v1/session_pb'
import type { Backplane } from '../../backplane/backplane.ts'
import type { AddressQuota } from '../../limits/address-quota.ts'
import type { ServerLimits } from '../../limits/server-limits.ts'
import type { Logger } from '../../ops/log.ts'
import type { Metrics } from '../../ops/metrics.ts'
import type { Router } from '../../router/router.ts'
import type { Challenges } from '../../session/challenges.ts'
import type { Memberships } from '../../session/memberships.ts'
import type { SessionRegistry } from '../../session/session-registry.ts'
import type { Tokens } from '../../session/tokens.ts'

/** The running server as the calls see it. Both lanes work on it through the functions of this folder. */
export interface SignalCore {
  readonly key: SigningKey
  readonly limits: ServerLimits
  readonly clock: Clock
  readonly challenges: Challenges
  readonly tokens: Tokens
  readonly sessions: SessionRegistry
  readonly memberships: Memberships
  readonly router: Router
  readonly backplane: Backplane
  readonly addressQuota: AddressQuota
  /** Fresh ICE servers, with TURN credentials of their own, for one session. */
  readonly iceServers: () => IceServer[]
  /** Milliseconds left while the server drains; undefined while it does not. */
  readonly drainingMs: () => number | undefined
  readonly metrics: Metrics
  readonly log: Logger
}
