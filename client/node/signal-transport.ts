import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node'
import type { SignalTransport } from '../platform.ts'

/** A frozen or vanished server is noticed within interval + timeout, even between heartbeats. */
const PING_INTERVAL_MS = 10_000
const PING_TIMEOUT_MS = 5_000
/** Above any response of a server within its documented limits (64 records of 2 KiB, or one 1 MiB stream queue). */
const MAX_RESPONSE_BYTES = 2 * 1024 * 1024

/** gRPC over HTTP/2, with pings. */
export function connectNode(origin: string): SignalTransport {
  const sessionManager = new Http2SessionManager(origin, {
    pingIntervalMs: PING_INTERVAL_MS,
    pingTimeoutMs: PING_TIMEOUT_MS,
  })
  return {
    transport: createGrpcTransport({ baseUrl: origin, sessionManager, readMaxBytes: MAX_RESPONSE_BYTES }),
    duplex: true,
    reset: () => sessionManager.abort(),
    close: () => sessionManager.abort(),
  }
}
