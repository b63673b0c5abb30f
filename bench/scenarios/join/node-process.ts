import { weriftFactory } from '@mesh/client/werift'
import { serveWorker } from '../../harness/worker.ts'
import { type NodeRtcName, nodeRtc } from '../../systems/rtc/node-rtc.ts'
import { inProcessSignaling } from '../../systems/rtc/raw-rtc.ts'
import { hostMesh, type MeshJoinTimes, type MeshMeeting, timeMeshJoin } from './mesh-join.ts'
import { greetRaw, timeRawJoin } from './raw-join.ts'

/** Both peers of a join in one process, raw or MESH, so that one clock and one thread serve both in either case. */
const rtc = weriftFactory()
let meeting: MeshMeeting | undefined

serveWorker({
  async raw({ stack }: { stack: NodeRtcName }): Promise<number> {
    const [resident, joiner] = inProcessSignaling()
    const greeting = greetRaw(nodeRtc(stack), resident)
    const elapsedMs = await timeRawJoin(nodeRtc(stack), joiner)
    const close = await greeting
    close()
    return elapsedMs
  },
  async meshHost({ origin }: { origin: string }): Promise<void> {
    meeting = await hostMesh(origin, rtc)
  },
  meshJoin(): Promise<MeshJoinTimes> {
    if (!meeting) throw new Error('nobody to meet')
    return timeMeshJoin(meeting, rtc)
  },
})
