import { toHex } from '@mesh/core'
import { type FederationStatus, lagOf, type OriginStatus } from './federation-status.ts'

/** One value per origin. There are at most `federationMaxServers` of them, and so many series. */
const ORIGIN_GAUGES: readonly (readonly [name: string, help: string, read: (origin: OriginStatus) => number])[] = [
  ['mesh_federation_origin_live', '1 while the rows of the server are shown, 0 while they are hidden.', isLive],
  ['mesh_federation_rows', 'Memberships held of the server.', ({ rows }) => rows],
  ['mesh_federation_lag_entries', 'Entries of the log that are not applied yet.', (origin) => Number(lagOf(origin))],
  [
    'mesh_federation_state_age_ms',
    'Milliseconds since the server was last heard of.',
    ({ msSinceState }) => Math.round(msSinceState),
  ],
]

/** The gauges of federation in Prometheus text format; `origin` is the key of a server. */
export function renderFederationGauges({ origins, neighbours }: FederationStatus): string {
  const gauges = ORIGIN_GAUGES.map(([name, help, read]) => [
    ...familyOf(name, help),
    ...origins.map((origin) => `${name}{origin="${toHex(origin.key)}"} ${read(origin)}`),
  ])
  const servers = [
    ...familyOf('mesh_federation_servers', 'Servers this one has a stream with.'),
    `mesh_federation_servers{channel="directory"} ${neighbours.filter(({ directory }) => directory).length}`,
    `mesh_federation_servers{channel="messages"} ${neighbours.filter(({ messages }) => messages).length}`,
  ]
  return [servers, ...gauges].flat().join('\n')
}

function familyOf(name: string, help: string): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} gauge`]
}

function isLive({ state }: OriginStatus): number {
  return state === 'live' ? 1 : 0
}
