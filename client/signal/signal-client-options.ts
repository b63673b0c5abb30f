import type { Clock, Random, SigningKey } from '@mesh/core'
import type { SignalTransport } from '../platform.ts'
import type { SessionOrder } from './session-order.ts'
import type { SignalEvents } from './signal-state.ts'

export interface SignalClientOptions {
  readonly transport: SignalTransport
  readonly origin: string
  readonly key: SigningKey
  readonly order: SessionOrder
  readonly clock: Clock
  readonly random: Random
  /** Ed25519 public keys: refuse a server with any other. */
  readonly serverKeys?: readonly Uint8Array[] | undefined
  /** See SessionOpener.admit. */
  readonly admit?: ((serverKey: Uint8Array) => void) | undefined
  readonly events: SignalEvents
}
