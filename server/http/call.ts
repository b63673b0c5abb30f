import type { ServerHttp2Session } from 'node:http2'

/** What a call brings along, whatever protocol and lane it came by. */
export interface Call {
  /** Host and port the client addressed, lower case, default port left out. Passed the allow-list. */
  readonly authority: string
  /** True when this server ended the TLS. */
  readonly encrypted: boolean
  /** Network address that quotas count. */
  readonly remoteAddress: string
  /** The authorization header. */
  readonly authorization: string | undefined
  /** The connection made an authenticated call: it may stay. */
  readonly markAuthenticated: () => void
  /** The caller proved to be a server that this one works with: its connection may stay, and its messages may be larger. */
  readonly markNeighbour: () => void
  /** Whether `markNeighbour` was called. */
  readonly isNeighbour: () => boolean
  /** The HTTP/2 connection it came by; undefined over HTTP/1.1. */
  readonly session: ServerHttp2Session | undefined
  /** Cuts the call's transport: the HTTP/2 stream, or the HTTP/1.1 connection. */
  readonly cut: () => void
}
