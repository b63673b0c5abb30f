import { createHmac } from 'node:crypto'
import { create } from '@bufbuild/protobuf'
import { type Clock, type Random, toHex } from '@mesh/core'
import { type IceServer, IceServerSchema } from '@mesh/protocol/mesh/signal/v1/session_pb'

/** An ICE server as it is told to clients (RTCIceServer). */
export interface IceServerOptions {
  /** "stun:", "turn:" or "turns:" URLs (RFC 7064, RFC 7065). */
  readonly urls: readonly string[]
  readonly username?: string
  readonly credential?: string
}

/** A TURN server that shares a secret with this server (coturn: `use-auth-secret`, `static-auth-secret`). */
export interface TurnOptions {
  readonly urls: readonly string[]
  readonly secret: string
}

export interface IceServersOptions {
  readonly iceServers: readonly IceServerOptions[]
  readonly turn: TurnOptions | undefined
  readonly turnCredentialTtlMs: number
  readonly clock: Clock
  readonly random: Random
}

/** Bytes of the pseudonym in a TURN user name: it names nobody, and differs for every session. */
const PSEUDONYM_BYTES = 8

/**
 * ICE servers for one session: those that were configured, and TURN with credentials of its own ("TURN REST": the user name
 * is `expiry:pseudonym`, the password the base64 HMAC-SHA1 of it under the shared secret).
 */
export function iceServersFor({
  iceServers,
  turn,
  turnCredentialTtlMs,
  clock,
  random,
}: IceServersOptions): IceServer[] {
  const fixed = iceServers.map(({ urls, username = '', credential = '' }) =>
    create(IceServerSchema, { urls: [...urls], username, credential }),
  )
  if (turn === undefined) return fixed
  const expirySeconds = Math.floor((clock.wallMs() + turnCredentialTtlMs) / 1_000)
  const username = `${expirySeconds}:${toHex(random.bytes(PSEUDONYM_BYTES))}`
  const credential = createHmac('sha1', turn.secret).update(username).digest('base64')
  return [...fixed, create(IceServerSchema, { urls: [...turn.urls], username, credential })]
}
