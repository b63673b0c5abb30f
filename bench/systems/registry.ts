import type { OpenIdle, OpenLines } from './line.ts'

/** The systems that relay messages, by the way a client talks to them. */
export type SystemName = 'ws' | 'peerjs' | 'mesh-exchange' | 'mesh-grpc' | 'mesh-web'

export interface RelaySystem {
  readonly openLines: OpenLines
  readonly openIdle: OpenIdle
}

/** Loads a system's client side; lazy, so a load process holds the code of its own system only. */
export async function loadSystem(name: SystemName): Promise<RelaySystem> {
  switch (name) {
    case 'ws': {
      const { openWsIdle, openWsLines } = await import('./ws/client.ts')
      return { openLines: openWsLines, openIdle: openWsIdle }
    }
    case 'peerjs': {
      const { openPeerjsIdle, openPeerjsLines } = await import('./peerjs/client.ts')
      return { openLines: openPeerjsLines, openIdle: openPeerjsIdle }
    }
    case 'mesh-exchange': {
      const { openExchangeIdle, openExchangeLines } = await import('./mesh/exchange-client.ts')
      return { openLines: openExchangeLines, openIdle: openExchangeIdle }
    }
    case 'mesh-grpc': {
      const { openGrpcIdle, openGrpcLines } = await import('./mesh/grpc-client.ts')
      return { openLines: openGrpcLines, openIdle: openGrpcIdle }
    }
    case 'mesh-web': {
      const { openWebIdle, openWebLines } = await import('./mesh/web-client.ts')
      return { openLines: openWebLines, openIdle: openWebIdle }
    }
  }
}

/** Where a system's server runs: one process, started by the scenario. */
export function serverModule(name: SystemName): URL {
  if (name === 'ws') return new URL('./ws/relay-server.ts', import.meta.url)
  if (name === 'peerjs') return new URL('./peerjs/relay-server.ts', import.meta.url)
  return new URL('./mesh/server-process.ts', import.meta.url)
}
