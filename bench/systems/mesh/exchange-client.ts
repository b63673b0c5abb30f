import { GrpcWire } from './grpc-wire.ts'
import { exchangingLines, idlePeers } from './mesh-lines.ts'

const open = (port: number): Promise<GrpcWire> => GrpcWire.open(`http://127.0.0.1:${port}`)

/** gRPC with one bidirectional stream per peer: what the SDK uses in Node. */
export const openExchangeLines = exchangingLines(open)
export const openExchangeIdle = idlePeers(open, 'Exchange')
