import type { Clock, Party, Random, SigningKey } from '@mesh/core'
import type { Admission } from '../connection/admission.ts'
import type { Connections } from '../connection/connections.ts'
import type { RelayUse } from '../connection/topic-handle.ts'
import type { SignalClients } from '../signal/signal-clients.ts'
import type { RecordSeq } from './record-seq.ts'
import type { Topology } from './topology/topology.ts'

export interface SwarmOptions {
  /** Opaque state other members see (MembershipRecord.state), at most 1,024 bytes. */
  readonly state?: Uint8Array
  /** Whom to link to; default `automatic()`: everybody up to 12 members, a bounded mesh beyond. */
  readonly topology?: Topology
  /**
   * How long a peer that fell silent without a word stays in the swarm, away, with its link and what waits on it, before it
   * leaves. 0 (at once) to 3,600,000; default 900,000, so that a laptop may sleep for a quarter of an hour.
   */
  readonly awayMs?: number
  /** What may travel through the server: default 'fallback', whatever has no direct path. See RelayUse. */
  readonly relay?: RelayUse
  /** Who may be in the swarm; default: whoever knows the party's key or name. */
  readonly admission?: Admission
}

/** What a swarm is made of; see MeshClient.join. */
export interface SwarmParts {
  readonly party: Party
  readonly key: SigningKey
  readonly clock: Clock
  readonly random: Random
  readonly signal: SignalClients
  readonly connections: Connections
  /** Shared by all swarms and servers of the client. */
  readonly seq: RecordSeq
  readonly options: SwarmOptions
  /** The swarm is closed; `close` resolves when this does. */
  readonly onClosed: () => Promise<void>
}
