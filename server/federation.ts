import type { SigningKey } from '@mesh/core'
import { FederatedBackplane } from './backplane/federation/federated-backplane.ts'
import {
  type AcceptReplicate,
  ReplicateTrunk,
  type ServeReplicate,
} from './backplane/federation/trunk/replicate-trunk.ts'
import type { MemoryDirectory } from './directory/memory-directory.ts'
import type { FederationStatus } from './ops/federation-status.ts'
import type { Metrics } from './ops/metrics.ts'
import type { ResolvedOptions } from './options.ts'
import { nodeVerify } from './session/node-verify.ts'

/** A server's part in a federation. */
export interface Federation {
  /** Made once, by the domain, over the directory of the server's own peers. */
  readonly createBackplane: (directory: MemoryDirectory) => FederatedBackplane
  /** Takes the calls of other servers: in the fast lane, and in the full one. */
  readonly accept: AcceptReplicate
  readonly serve: ServeReplicate
  /** Calls the other servers. */
  start(): void
  status(): FederationStatus | undefined
  /** Rows of other servers. */
  readonly replicatedRows: number
  /** Tells the other servers that this one stops, and ends the streams with them. Idempotent. */
  close(): Promise<void>
}

/** What `ServerOptions.federation` asks for; undefined for a server that stands alone. */
export function createFederation(options: ResolvedOptions, key: SigningKey, metrics: Metrics): Federation | undefined {
  const { federation, limits, clock, random, log } = options
  if (federation === undefined) return undefined
  const trunk = new ReplicateTrunk({ limits, clock, ca: federation.ca })
  let backplane: FederatedBackplane | undefined
  return {
    createBackplane(directory) {
      backplane = new FederatedBackplane({
        directory,
        key,
        federation,
        trunk,
        limits,
        clock,
        random,
        log,
        verify: nodeVerify,
        onRefused: ({ reasonName }) => metrics.federationRefused.add(reasonName.toLowerCase()),
        onEnvelope: (outcome) => metrics.federationEnvelopes.add(outcome),
      })
      return backplane
    },
    accept: trunk.accept,
    serve: trunk.serve,
    start: () => backplane?.start(),
    status: () => backplane?.status(),
    get replicatedRows() {
      const [, ...others] = backplane?.status().origins ?? []
      return others.reduce((sum, { rows }) => sum + rows, 0)
    },
    close: async () => backplane?.close(),
  }
}
