/**
 * The thinnest clients that speak MESH's own wire formats. A load generator built on a full client library would spend
 * several times what the server spends, and be what the bench measures.
 */

export type Method = 'GetChallenge' | 'OpenSession' | 'Join' | 'SendMessage' | 'Subscribe' | 'Exchange'

/** One connection of one peer to the server, in one of the wire formats. */
export interface Wire {
  /** A unary call with serialised messages; rejects on any status but OK. */
  call(method: Method, request: Uint8Array): Promise<Uint8Array>
  /** Opens a stream; `message` gets every message of the server, as a view that is valid during the call. */
  stream(method: 'Subscribe' | 'Exchange', handlers: StreamHandlers): WireStream
  /** Sent as the bearer of every later call. */
  token: string
}

export interface StreamHandlers {
  readonly message: (message: Uint8Array) => void
  /** The stream ended, which it never should during a measurement. */
  readonly ended: (reason: string) => void
}

export interface WireStream {
  /** Writes bytes that are framed already; `done` is called when they may be overwritten. */
  write(framed: Uint8Array, done?: () => void): void
  /** No more requests: a Subscribe has one. */
  end(): void
}

export function methodPath(method: Method): string {
  return `/mesh.signal.v1.SignalService/${method}`
}
