import { join, type Swarm } from '@mesh/client'
import { fromHex, signingKeyFromSeed } from '@mesh/core'
import { type PeerReport, reportOf } from './peer-report.ts'

/** A peer in a process of its own, driven over IPC: node node-peer.ts <address> <seed in hex>. */
const [address = '', seed = ''] = process.argv.slice(2)
const identity = await signingKeyFromSeed(fromHex(seed))
const swarm: Swarm = await join(address, { identity })
const report = reportOf(swarm)

type Command = { readonly id: number } & (
  | { readonly call: 'report' }
  | { readonly call: 'send'; readonly text: string }
  | { readonly call: 'close' }
)

process.on('message', (command: Command) => {
  run(command).then(
    (result) => process.send?.({ id: command.id, result }),
    (error: Error) => process.send?.({ id: command.id, error: error.message }),
  )
})
process.send?.({ ready: true })

async function run(command: Command): Promise<PeerReport | number | undefined> {
  switch (command.call) {
    case 'report':
      return report()
    case 'send':
      return (await swarm.send(command.text)).delivered.length
    case 'close':
      await swarm.close()
      // Nothing else may hold the process: the test waits for it to end by itself.
      setImmediate(() => process.disconnect())
  }
}
