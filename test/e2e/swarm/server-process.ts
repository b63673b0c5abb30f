import { createServer } from '@mesh/server'

/** A signaling server in a process of its own: node server-process.ts <port> <limits as JSON>. */
const [port = '0', limits = '{}'] = process.argv.slice(2)
const server = createServer({ port: Number(port), limits: JSON.parse(limits) })
const { origin } = await server.listen()
process.on('SIGTERM', () => {
  server.close({ drainMs: 0 }).then(() => process.exit(0))
})
process.send?.({ origin })
