/**
 * A named channel: bytes flow both ways as web streams, only as fast as the other side reads them.
 *
 *     node -C source examples/stream.ts
 */
import { join } from '@mesh/client'
import { createServer } from '@mesh/server'

const server = createServer({ port: 0 })
const { host, port } = await server.listen()
const address = `mesh://${host}:${port}/streams`

const reader = await join(address, { identity: 'ephemeral' })
reader.on('channel', async (channel) => {
  let bytes = 0
  for await (const chunk of channel.readable) bytes += chunk.length
  // The other direction of the same channel.
  await new Response(`${channel.name}: ${bytes} bytes`).body?.pipeTo(channel.writable)
})

const writer = await join(address, { identity: 'ephemeral' })
const peer = writer.peers.get(reader.id) ?? (await writer.once('join'))

const channel = await peer.open('measurements')
const chunk = new Uint8Array(64 * 1024)
await new Blob(Array(32).fill(chunk)).stream().pipeTo(channel.writable)
console.log('the reader says', await new Response(channel.readable).text())

await Promise.all([writer.close(), reader.close()])
await server.close()
