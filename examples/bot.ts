/**
 * A bot that answers requests: one peer offers a small service, another one uses it. Errors reach whoever asked.
 *
 *     node -C source examples/bot.ts
 */
import { ErrorReason, join, MeshError } from '@mesh/client'
import { createServer } from '@mesh/server'

const server = createServer({ port: 0 })
const { host, port } = await server.listen()
const address = `mesh://${host}:${port}/calculators`

const bot = await join(address, { identity: 'ephemeral' })
bot.onRequest((request) => {
  const numbers = request.json()
  if (!Array.isArray(numbers) || !numbers.every(Number.isFinite)) {
    throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'send me a list of numbers')
  }
  return { sum: numbers.reduce((sum: number, value: number) => sum + value, 0) }
})

const user = await join(address, { identity: 'ephemeral' })
const peer = user.peers.get(bot.id) ?? (await user.once('join'))

const answer = await peer.request([1, 2, 39], { timeoutMs: 5_000 })
console.log('the bot says', answer.json())

try {
  await peer.request({ question: 'how much is it?' })
} catch (error) {
  if (error instanceof MeshError) console.log(`${error.reasonName}: ${error.message}`)
}

await Promise.all([user.close(), bot.close()])
await server.close()
