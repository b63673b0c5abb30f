import { join, type Swarm } from '@mesh/client'
import { fromHex, signingKeyFromSeed } from '@mesh/core'
import { type PeerReport, reportOf } from '../peer-report.ts'

/** What the test calls in the page. */
export interface PagePeer {
  join(address: string, seed: string | undefined): Promise<string>
  report(): PeerReport
  send(text: string): Promise<number>
  close(): Promise<void>
}

let swarm: Swarm
let report: () => PeerReport

const peer: PagePeer = {
  async join(address, seed) {
    swarm = await join(address, seed ? { identity: await signingKeyFromSeed(fromHex(seed)) } : {})
    report = reportOf(swarm)
    return swarm.id
  },
  report: () => report(),
  send: async (text) => (await swarm.send(text)).delivered.length,
  close: () => swarm.close(),
}
Object.assign(globalThis, { peer })
