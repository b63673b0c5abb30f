import { createConnectTransport } from '@connectrpc/connect-web'
import { ErrorReason, MeshError, systemClock, systemRandom } from '@mesh/core'
import type { RtcConnection, RtcFactory } from '../connection/rtc.ts'
import type { Platform, SignalTransport } from '../platform.ts'
import { browserIdentityStore } from './identity-store.ts'
import { browserLifecycle } from './lifecycle.ts'

/** Browsers: Connect over fetch, the browser's own WebRTC, identities in IndexedDB. */
export function platform(): Platform {
  return {
    clock: systemClock,
    random: systemRandom,
    identities: browserIdentityStore(),
    rtc: browserRtc,
    lifecycle: browserLifecycle(systemClock),
    connect: connectBrowser,
  }
}

function connectBrowser(origin: string): SignalTransport {
  return {
    transport: createConnectTransport({ baseUrl: origin, useBinaryFormat: true }),
    duplex: false,
    close: () => {},
  }
}

const browserRtc: RtcFactory = {
  async create(configuration) {
    if (!('RTCPeerConnection' in globalThis)) {
      throw new MeshError(ErrorReason.RTC_UNAVAILABLE, 'this browser has no RTCPeerConnection')
    }
    const iceServers = configuration.iceServers.map((server) => ({ ...server }))
    const connection = new RTCPeerConnection({ ...configuration, iceServers })
    return connection as unknown as RtcConnection
  },
}
