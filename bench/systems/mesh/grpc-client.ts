import { GrpcWire } from './grpc-wire.ts'
import { callingLines, idlePeers } from './mesh-lines.ts'

const open = (port: number): Promise<GrpcWire> => GrpcWire.open(`http://127.0.0.1:${port}`)

/** gRPC with a unary SendMessage per batch and a Subscribe stream. */
export const openGrpcLines = callingLines(open)
export const openGrpcIdle = idlePeers(open, 'Subscribe')
