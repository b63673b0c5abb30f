/** The MESH signaling server, to be run by `mesh serve` or inside any Node program. */

export type { FederationOptions } from './backplane/federation/federation-options.ts'
// How operators name servers to each other
export { formatServerAddress, parseServerAddress, parseServerKey } from './backplane/federation/trunk/server-address.ts'
export type { ServerAddress as FederatedServer } from './backplane/federation/trunk/trunk.ts'
export type { NodeHandler, NodeRequest, NodeResponse } from './http/request.ts'
export type { LimitDescription, LimitUnit, ServerLimits, ServerOnlyLimits } from './limits/server-limits.ts'
// For adapters: what flags, documents and tests are made from
export { DEFAULT_SERVER_LIMITS, serverLimits, serverLimitWireName } from './limits/server-limits.ts'
export type { LogFields, Logger, LogLevel } from './ops/log.ts'
export { jsonLogger, silentLogger } from './ops/log.ts'
export type { ServerOptions } from './options.ts'
export type { ServerAddress, ServerStats } from './running-server.ts'
export type { CloseOptions, MeshServer } from './server.ts'
// For applications
export { createServer } from './server.ts'
export type { IceServerOptions, TurnOptions } from './session/ice-servers.ts'
