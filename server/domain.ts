import type { Clock, Random } from '@mesh/core'
import type { Backplane } from './backplane/backplane.ts'
import { LocalBackplane } from './backplane/local-backplane.ts'
import { MemoryDirectory } from './directory/memory-directory.ts'
import type { ServerLimits } from './limits/server-limits.ts'
import { Router } from './router/router.ts'
import { Memberships } from './session/memberships.ts'
import type { SessionEnd } from './session/session.ts'
import { SessionRegistry } from './session/session-registry.ts'
import type { StreamEnding } from './session/session-stream.ts'

export interface DomainOptions {
  readonly limits: ServerLimits
  readonly clock: Clock
  readonly random: Random
  /** Makes the backplane over the directory of this server's own peers. Default: a server that stands alone. */
  readonly backplane?: ((directory: MemoryDirectory) => Backplane) | undefined
  readonly onSessionEnd?: (end: SessionEnd) => void
  readonly onStreamEnded?: (ending: StreamEnding) => void
}

/** Everything a server knows and decides, without the calls by which it is reached. */
export interface Domain {
  /** Memberships of this server's own peers. */
  readonly directory: MemoryDirectory
  readonly backplane: Backplane
  readonly sessions: SessionRegistry
  readonly memberships: Memberships
  readonly router: Router
  /** Ends every session and leaves the other servers. */
  close(): Promise<void>
}

/** Wires the parts together: the same for a running server, for tests and for the simulations. */
export function createDomain(options: DomainOptions): Domain {
  const { limits, clock, random } = options
  const { maxMembersPerTopic, clockSkewMs } = limits
  const directory = new MemoryDirectory({ maxMembersPerTopic, clockSkewMs, random, startWallMs: clock.wallMs() })
  const backplane = options.backplane?.(directory) ?? new LocalBackplane(directory, clock)
  const sessions: SessionRegistry = new SessionRegistry({
    limits,
    clock,
    random,
    onEnd: (session, end) => {
      options.onSessionEnd?.(end)
      memberships.onSessionEnd(session, end)
      router.onSessionEnd(session, end)
    },
    onStreamless: (session) => memberships.onStreamless(session),
    onStreamEnded: (ending) => options.onStreamEnded?.(ending),
  })
  const memberships = new Memberships({ backplane, sessions, limits, clock })
  backplane.onLapsed((departure) => memberships.onLapsed(departure))
  backplane.onOutranked((peer, order) => memberships.onOutranked(peer, order))
  const router = new Router({ backplane, sessions, limits, clock })
  const close = async (): Promise<void> => {
    for (const session of [...sessions]) sessions.end(session, { kind: 'stopped' })
    memberships.close()
    router.close()
    await backplane.close()
  }
  return { directory, backplane, sessions, memberships, router, close }
}
