import { isIPv6 } from 'node:net'
import type { networkInterfaces } from 'node:os'

/** Under which names a server bound to some address is reached. */
export interface Reach {
  /** Host for the URL that is printed, and for the resident. */
  readonly host: string
  /** Host names to answer for; undefined: the server's own default, which is right on loopback. */
  readonly allowedHosts: readonly string[] | undefined
}

const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]']
const EVERY_ADDRESS: ReadonlySet<string> = new Set(['0.0.0.0', '::'])

/** `interfaces` as `os.networkInterfaces()` gives them. */
export function reachOf(host: string, interfaces: ReturnType<typeof networkInterfaces>): Reach {
  if (EVERY_ADDRESS.has(host)) {
    const own = Object.values(interfaces).flatMap((entries) => (entries ?? []).map(({ address }) => inUrl(address)))
    return { host: 'localhost', allowedHosts: [...new Set([...LOOPBACK_NAMES, ...own])] }
  }
  if (host === 'localhost' || host === '::1' || host.startsWith('127.')) {
    return { host: inUrl(host), allowedHosts: undefined }
  }
  return { host: inUrl(host), allowedHosts: [inUrl(host)] }
}

function inUrl(host: string): string {
  return isIPv6(host) ? `[${host.replace(/%.*$/, '')}]` : host
}
