import { createServer } from '@mesh/server'

/** A signaling server in a process of its own: node server-process.ts <ServerOptions as JSON>. */
const server = createServer(JSON.parse(process.argv[2] ?? '{}'))
const { origin } = await server.listen()
process.on('SIGTERM', () => {
  server.close({ drainMs: 0 }).then(() => process.exit(0))
})
process.send?.({ origin })
