import type { Random } from '@mesh/core'
import type { ByteKey } from '../../../byte-key.ts'
import type { Home } from '../home.ts'

/** One way to a recipient. */
export interface Route {
  /** Tells it from the other ways to the same recipient. */
  readonly key: string
  readonly home: Home
  /** The server to hand the envelope to: the home itself, or one that passes it on. */
  readonly via: ByteKey
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
  { self, tried, silent, random }: NextRouteOptions,
): Route | undefined {
  for (const home of homes) {
    const isDirect = home.server === self || connected.has(home.server)
    const route = isDirect ? routeOf(home, home.server) : third(home, connected, tried, random)
    if (route !== undefined && !tried.has(route.key)) return route
  }
  for (const home of homes) {
    const route = silent.has(routeOf(home, home.server).key) ? third(home, connected, tried, random) : undefined
    if (route !== undefined) return route
  }
  return undefined
}

export interface NextRouteOptions {
  readonly self: ByteKey
  /** Keys of the routes of this round. */
  readonly tried: ReadonlySet<string>
  /** Keys of the routes among them that nobody answered in time. */
  readonly silent: ReadonlySet<string>
  readonly random: Random
}

function third(
  home: Home,
  connected: ReadonlyMap<ByteKey, unknown>,
  tried: ReadonlySet<string>,
  random: Random,
): Route | undefined {
  const others = [...connected.keys()].filter((via) => via !== home.server)
  const routes = others.map((via) => routeOf(home, via))
  const untried = routes.filter(({ key }) => !tried.has(key))
  if (routes.length - untried.length >= MAX_THIRDS) return undefined
  return untried[Math.floor(random.uniform() * untried.length)]
}

function routeOf(home: Home, via: ByteKey): Route {
  return { key: home.server + home.session + via, home, via }
}
