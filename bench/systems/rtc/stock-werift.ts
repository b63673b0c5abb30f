import { RTCPeerConnection } from 'werift'
import type { RawConnection } from './raw-rtc.ts'

/** Stock werift, told the two things without which it does not connect, or not at once, on a machine without a network. */
export async function createStockWerift(): Promise<RawConnection> {
  const connection = new RTCPeerConnection({ iceServers: [], iceAdditionalHostAddresses: ['127.0.0.1'] })
  return withoutPublicStun(connection) as unknown as RawConnection
}

/** An empty server list still asks a public STUN server; that lookup would be most of what is measured. */
function withoutPublicStun(connection: RTCPeerConnection): RTCPeerConnection {
  const createDataChannel = connection.createDataChannel.bind(connection)
  connection.createDataChannel = (...args) => {
    const channel = createDataChannel(...args)
    for (const transport of connection.iceTransports) {
      Object.assign(transport.connection, { stunServer: undefined })
    }
    return channel
  }
  return connection
}
