import { join, type Swarm } from '@mesh/client'
import { fromHex, signingKeyFromSeed } from '@mesh/core'
import { echoDatagrams, exchangeDatagrams } from '../datagrams.ts'
import { OpenConnections } from '../open-connections.ts'
import { type PeerReport, reportOf } from '../peer-report.ts'
import { type TransferPlan, type TransferReport, Transfers } from '../transfer.ts'

/** What the test calls in the page. */
export interface PagePeer {
  join(address: string, seed: string | undefined): Promise<string>
  report(): PeerReport
  send(text: string): Promise<number>
  transfer(to: string, plan: TransferPlan): void
  transferred(): { sent: TransferReport; received: TransferReport }
  sever(): number
  datagrams(count: number): Promise<number>
  close(): Promise<void>
}

const connections = new OpenConnections()
globalThis.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(configuration?: RTCConfiguration) {
    super(configuration)
    connections.add(this)
  }
}

let swarm: Swarm
let report: () => PeerReport
let transfers: Transfers

const peer: PagePeer = {
  async join(address, seed) {
    swarm = await join(address, seed ? { identity: await signingKeyFromSeed(fromHex(seed)) } : {})
    report = reportOf(swarm)
    transfers = new Transfers(swarm)
    echoDatagrams(swarm)
    return swarm.id
  },
  report: () => report(),
  send: async (text) => (await swarm.send(text)).delivered.length,
  transfer: (to, plan) => transfers.start(to, plan),
  transferred: () => transfers.report(),
  sever: () => connections.sever(),
  datagrams: (count) => exchangeDatagrams(swarm, count),
  close: () => swarm.close(),
}
Object.assign(globalThis, { peer })
