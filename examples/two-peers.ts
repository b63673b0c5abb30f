/**
 * Two peers and their signaling server in one program: they find each other by the name of a party, and talk.
 *
 *     node -C source examples/two-peers.ts
 */
import { join } from '@mesh/client'
import { createServer } from '@mesh/server'

const server = createServer({ port: 0 })
const { host, port } = await server.listen()
const address = `mesh://${host}:${port}/our-party`

// 'ephemeral' keeps no key; by default a peer is the same one next time.
const ada = await join(address, { identity: 'ephemeral' })
const bob = await join(address, { identity: 'ephemeral' })

bob.on('message', (message) => {
  console.log(`bob hears "${message.text()}"`)
  void message.from.send('hello, ada')
})

const answer = ada.once('message')
const { delivered } = await ada.send('hello, everybody')
console.log(`delivered to ${delivered.length} peer`)
console.log(`ada hears "${(await answer).text()}"`)

// Closing gives messages on their way a second: first the one who spoke last.
await bob.close()
await ada.close()
await server.close()
