import type { ByteKey } from '../../../../byte-key.ts'
import { Replica, type ReplicaOptions } from './replica.ts'

export interface ReplicasOptions {
  /** What every replica is made with. */
  readonly shared: Omit<ReplicaOptions, 'origin' | 'pull'>
  readonly pull: (origin: ByteKey, epoch: bigint, seq: bigint) => void
  /** Origins that are never forgotten. */
  readonly expected: ReadonlySet<ByteKey>
  /** Whether there is a stream with the origin. */
  readonly isConnected: (origin: ByteKey) => boolean
}

/** The replicas of all other servers, `federation_max_servers` at most: one that has no rows and no stream gives way. */
export class Replicas {
  readonly #options: ReplicasOptions
  readonly #replicas = new Map<ByteKey, Replica>()

  constructor(options: ReplicasOptions) {
    this.#options = options
    for (const origin of options.expected) this.make(origin)
  }

  get all(): ReadonlyMap<ByteKey, Replica> {
    return this.#replicas
  }

  /** When `tick` has something to do. */
  get dueMs(): number {
    return Math.min(...[...this.#replicas.values()].map(({ dueMs }) => dueMs))
  }

  get(origin: ByteKey): Replica | undefined {
    return this.#replicas.get(origin)
  }

  /** The replica of an origin, made if there is room for one more. */
  make(origin: ByteKey): Replica | undefined {
    const { shared, pull } = this.#options
    const known = this.#replicas.get(origin)
    if (known !== undefined) return known
    if (this.#replicas.size >= shared.limits.federationMaxServers && !this.#forgetOldest()) return undefined
    const replica = new Replica({ ...shared, origin, pull: (epoch, seq) => pull(origin, epoch, seq) })
    this.#replicas.set(origin, replica)
    return replica
  }

  grantGrace(graceMs: number): void {
    for (const replica of this.#replicas.values()) replica.grantGrace(graceMs)
  }

  tick(): void {
    const { expected, isConnected } = this.#options
    for (const [origin, replica] of this.#replicas) {
      if (!replica.tick() && !isConnected(origin) && !expected.has(origin)) this.#replicas.delete(origin)
    }
  }

  #forgetOldest(): boolean {
    for (const [origin, replica] of this.#replicas) {
      if (!replica.isEmpty || this.#options.isConnected(origin)) continue
      replica.forget()
      return this.#replicas.delete(origin)
    }
    return false
  }
}
