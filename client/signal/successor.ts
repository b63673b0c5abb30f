import { equalBytes } from '@mesh/core'
import type { NoticeEvent } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { isLoopbackHost } from '../address.ts'

/** A server to move to, and the keys it may show. */
export interface Successor {
  readonly origin: string
  /** Undefined when any will do. */
  readonly serverKeys: readonly Uint8Array[] | undefined
}

const KEY_BYTES = 32

/** What the application said about servers. */
export interface KnownServers {
  readonly origins: readonly string[]
  readonly serverKeys: readonly Uint8Array[] | undefined
}

/**
 * The server a draining one names, if it may be followed there. One that the application named too may be. For any other:
 *
 *  - There must be a key to hold it to: the one the draining server names, which must be among the application's own where it
 *    has given any, or else those.
 *  - It must be as hard to impersonate as the one before: TLS is not given up, and nobody is sent to a server on its own
 *    machine unless it came from one.
 *
 * A server can therefore send its clients only where it says beforehand whom they will meet. `from`: its origin.
 */
export function successorOf(
  { successor, successorKey }: Pick<NoticeEvent, 'successor' | 'successorKey'>,
  from: string,
  { origins, serverKeys: pinned }: KnownServers,
): Successor | undefined {
  const origin = originOf(successor)
  if (origin === undefined || origin === from) return undefined
  if (origins.includes(origin)) return { origin, serverKeys: pinned }
  const [before, after] = [new URL(from), new URL(origin)]
  if (before.protocol === 'https:' && after.protocol !== 'https:') return undefined
  if (isLoopbackHost(after.hostname) && !isLoopbackHost(before.hostname)) return undefined
  const named = successorKey.length === KEY_BYTES ? [successorKey] : undefined
  const serverKeys =
    named && pinned ? named.filter((key) => pinned.some((pin) => equalBytes(pin, key))) : (named ?? pinned)
  return serverKeys && serverKeys.length > 0 ? { origin, serverKeys } : undefined
}

/** `text` when it is an http or https origin and nothing else; a slash at its end does no harm. */
function originOf(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol)) return undefined
  return url.origin === text.replace(/\/$/, '').toLowerCase() ? url.origin : undefined
}
