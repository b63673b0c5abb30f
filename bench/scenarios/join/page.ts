/** What runs inside the two browser pages of the join scenario; the scenario calls it by name. */
import type { RawConnection, RawRtc, RawSignal, RawSignaling } from '../../systems/rtc/raw-rtc.ts'
import { hostMesh, type MeshJoinTimes, type MeshMeeting, timeMeshJoin } from './mesh-join.ts'
import { greetRaw, timeRawJoin } from './raw-join.ts'

/** Pages of one origin hear each other here: the browser's in-process signaling. */
const CHANNEL = 'bench-signaling'

const browserRtc: RawRtc = async () => new RTCPeerConnection() as unknown as RawConnection

function broadcastSignaling(): RawSignaling & { close(): void } {
  const channel = new BroadcastChannel(CHANNEL)
  return {
    send: (signal) => channel.postMessage(signal),
    receive: (listener) => {
      channel.onmessage = ({ data }: MessageEvent<RawSignal>) => listener(data)
    },
    close: () => channel.close(),
  }
}

let endGreeting: () => void = () => {}

export interface JoinPage {
  /** Gets ready for one joiner; returns at once. */
  rawGreet(): void
  rawJoin(): Promise<number>
  rawEnd(): void
  meshHost(origin: string): Promise<MeshMeeting>
  meshJoin(meeting: MeshMeeting): Promise<MeshJoinTimes>
}

const page: JoinPage = {
  rawGreet() {
    const signaling = broadcastSignaling()
    void greetRaw(browserRtc, signaling).then((close) => {
      endGreeting = () => {
        close()
        signaling.close()
      }
    })
  },
  async rawJoin() {
    const signaling = broadcastSignaling()
    const elapsedMs = await timeRawJoin(browserRtc, signaling)
    signaling.close()
    return elapsedMs
  },
  rawEnd: () => endGreeting(),
  meshHost: (origin) => hostMesh(origin, undefined),
  meshJoin: (meeting) => timeMeshJoin(meeting, undefined),
}

Object.assign(globalThis, { bench: page })
