import { join, type RtcFactory, type Swarm } from '@mesh/client'
import { weriftFactory } from '@mesh/client/werift'
import { fromHex, signingKeyFromSeed } from '@mesh/core'
import { echoDatagrams, exchangeDatagrams } from './datagrams.ts'
import { OpenConnections } from './open-connections.ts'
import { reportOf } from './peer-report.ts'
import { type TransferPlan, Transfers } from './transfer.ts'

/** A peer in a process of its own, driven over IPC: node node-peer.ts <address> <seed in hex>. */
const [address = '', seed = ''] = process.argv.slice(2)
const identity = await signingKeyFromSeed(fromHex(seed))
const connections = new OpenConnections()
const werift = weriftFactory()
const rtc: RtcFactory = { create: async (configuration) => connections.add(await werift.create(configuration)) }
const swarm: Swarm = await join(address, { identity, rtc })
const report = reportOf(swarm)
const transfers = new Transfers(swarm)
echoDatagrams(swarm)

type Command = { readonly id: number } & (
  | { readonly call: 'report' | 'transferred' | 'sever' | 'close' }
  | { readonly call: 'send'; readonly text: string }
  | { readonly call: 'transfer'; readonly to: string; readonly plan: TransferPlan }
  | { readonly call: 'datagrams'; readonly count: number }
)

process.on('message', (command: Command) => {
  run(command).then(
    (result) => process.send?.({ id: command.id, result }),
    (error: Error) => process.send?.({ id: command.id, error: error.message }),
  )
})
process.send?.({ ready: true })

async function run(command: Command): Promise<unknown> {
  switch (command.call) {
    case 'report':
      return report()
    case 'send':
      return (await swarm.send(command.text)).delivered.length
    case 'transfer':
      return transfers.start(command.to, command.plan)
    case 'transferred':
      return transfers.report()
    case 'sever':
      return connections.sever()
    case 'datagrams':
      return await exchangeDatagrams(swarm, command.count)
    case 'close':
      await swarm.close()
      // Nothing else may hold the process: the test waits for it to end by itself.
      setImmediate(() => process.disconnect())
  }
}
