import { isIPv6 } from 'node:net'
import { type Clock, TokenBucket } from '@mesh/core'
import { limitError, type ServerLimits } from './server-limits.ts'

/**
 * OpenSession quota per network address: one bucket per IPv4 address and per IPv6 /64, the smallest block that one
 * subscriber gets. Remembers a bounded number of addresses; the one that was new the longest ago gives way.
 */
export class AddressQuota {
  readonly #limits: ServerLimits
  readonly #clock: Clock
  readonly #buckets = new Map<string, TokenBucket>()

  constructor(limits: ServerLimits, clock: Clock) {
    this.#limits = limits
    this.#clock = clock
  }

  /** Counts one call from `address`. @throws MeshError LIMIT_EXCEEDED (open_sessions_per_second). */
  take(address: string): void {
    const { openSessionsPerSecond } = this.#limits
    const bucket = this.#bucket(addressBlock(address))
    if (bucket.take()) return
    throw limitError('openSessionsPerSecond', openSessionsPerSecond, { retryAfterMs: bucket.msUntil() })
  }

  #bucket(block: string): TokenBucket {
    const known = this.#buckets.get(block)
    if (known !== undefined) return known
    if (this.#buckets.size >= this.#limits.maxTrackedAddresses) {
      this.#buckets.delete(this.#buckets.keys().next().value as string)
    }
    const { openSessionsPerSecond: perSecond, openSessionsBurst: burst } = this.#limits
    const bucket = new TokenBucket({ perSecond, burst, clock: this.#clock })
    this.#buckets.set(block, bucket)
    return bucket
  }
}

/** The block an address is counted under: an IPv4 address itself (also when IPv6-mapped), the /64 of an IPv6 address. */
export function addressBlock(address: string): string {
  const withoutZone = address.split('%', 1)[0] as string
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(withoutZone)
  if (mapped !== null) return mapped[1] as string
  if (!isIPv6(withoutZone)) return withoutZone
  const [head = '', tail] = withoutZone.split('::', 2)
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  // An embedded IPv4 part stands for two groups.
  const written = before.length + after.length + (withoutZone.includes('.') ? 1 : 0)
  const zeros = tail === undefined ? [] : new Array<string>(Math.max(0, 8 - written)).fill('0')
  const network = [...before, ...zeros, ...after].slice(0, 4)
  return `${network.map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`
}
