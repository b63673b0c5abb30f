import type { Random } from '@mesh/core'
import type { ByteKey } from '../../../byte-key.ts'
import type { Home } from '../home.ts'

/** One way to a recipient. */
export interface Route {
  readonly home: Home
  /** The server to hand the envelope to: the home itself, or one that passes it on. */
  readonly via: ByteKey
}

/** A way that was tried in this round. */
export interface TriedRoute extends Route {
  /** Nobody answered in time. */
  readonly silent: boolean
}

/** Servers that are asked, in one round, to pass an envelope on to the same home. Two, because the first may have lost it too. */
const MAX_THIRDS = 2

/**
 * The best way that was not tried yet: homes in the order they are given, each directly when that can be, else through another
 * server, any of those that are connected. A home that is this server itself (`self`) needs no stream. When every home was
 * tried, those whose direct stream gave no answer (`silent`) are tried through others: the stream may be dead and not know it.
 */
export function nextRoute(
  homes: readonly Home[],
  connected: ReadonlyMap<ByteKey, unknown>,
  { self, tried, random }: NextRouteOptions,
): Route | undefined {
  for (const home of homes) {
    const isDirect = home.server === self || connected.has(home.server)
    const route = isDirect ? { home, via: home.server } : third(home, connected, tried, random)
    if (route !== undefined && !tried.some((other) => isSameRoute(other, route))) return route
  }
  for (const home of homes) {
    const direct = { home, via: home.server }
    const isSilent = tried.some((other) => other.silent && isSameRoute(other, direct))
    const route = isSilent ? third(home, connected, tried, random) : undefined
    if (route !== undefined) return route
  }
  return undefined
}

export interface NextRouteOptions {
  readonly self: ByteKey
  readonly tried: readonly TriedRoute[]
  readonly random: Random
}

/** Whether both lead to the same session through the same server. */
export function isSameRoute(a: Route, b: Route): boolean {
  return a.via === b.via && a.home.server === b.home.server && a.home.session === b.home.session
}

function third(
  home: Home,
  connected: ReadonlyMap<ByteKey, unknown>,
  tried: readonly Route[],
  random: Random,
): Route | undefined {
  const others = [...connected.keys()].filter((via) => via !== home.server)
  const routes = others.map((via) => ({ home, via }))
  const untried = routes.filter((route) => !tried.some((other) => isSameRoute(other, route)))
  if (routes.length - untried.length >= MAX_THIRDS) return undefined
  return untried[Math.floor(random.uniform() * untried.length)]
}
