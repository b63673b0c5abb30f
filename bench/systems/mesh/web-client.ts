import { callingLines, idlePeers } from './mesh-lines.ts'
import { WebWire } from './web-wire.ts'

const open = async (port: number): Promise<WebWire> => new WebWire(port)

/** Connect over HTTP/1.1 with a unary SendMessage per batch and a Subscribe stream: what a browser uses. */
export const openWebLines = callingLines(open)
export const openWebIdle = idlePeers(open, 'Subscribe')
