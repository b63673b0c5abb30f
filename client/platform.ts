import type { Transport } from '@connectrpc/connect'
import type { AeadFactory, Clock, Random } from '@mesh/core'
import type { RtcFactory } from './connection/rtc.ts'
import type { IdentityStore } from './identity/identity.ts'
import type { Lifecycle } from './lifecycle.ts'

/**
 * Everything the SDK takes from the place it runs in. `browser/` and `node/` each make one; package.json `exports` choose
 * between them, and nothing else in the SDK asks where it is.
 */
export interface Platform {
  readonly clock: Clock
  readonly random: Random
  readonly identities: IdentityStore
  /** Undefined where there is no WebRTC: links then stay on the relay path. */
  readonly rtc: RtcFactory | undefined
  /** What happens to the process or the page; undefined where nothing can be noticed. */
  readonly lifecycle?: Lifecycle | undefined
  /** What packets are sealed with, where that is faster than WebCrypto. */
  readonly aead?: AeadFactory | undefined
  /** A connection to one signaling server. Opens nothing until the first call. */
  connect(origin: string): SignalTransport
}

/** How calls reach one signaling server. */
export interface SignalTransport {
  readonly transport: Transport
  /** True when bidirectional streams work (HTTP/2 outside browsers): Exchange is used instead of Subscribe and SendMessage. */
  readonly duplex: boolean
  /** Lets go of connections that may be dead: calls under way fail, the next one opens a new connection. */
  reset?(): void
  /** Ends idle connections. Idempotent. */
  close(): void
}
