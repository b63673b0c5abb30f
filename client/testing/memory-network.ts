import { type ConnectRouter, createRouterTransport } from '@connectrpc/connect'
import { type Clock, generateSigningKey, type Random, systemClock, systemRandom } from '@mesh/core'
import { SignalService } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { ephemeralIdentity } from '../identity/identity.ts'
import type { Platform } from '../platform.ts'
import { MemoryDirectory } from './memory-directory.ts'
import { MemoryRtc } from './memory-rtc.ts'
import { MemorySignalService } from './memory-signal-service.ts'

export interface MemoryNetworkOptions {
  /** Default: the system's. Give a VirtualClock to own time. */
  readonly clock?: Clock
  readonly random?: Random
  /** Peers use Exchange, as Node does, instead of Subscribe and SendMessage, as browsers do. Default false. */
  readonly duplex?: boolean
  /** How many signaling servers there are. Default 1. */
  readonly servers?: number
  /** The servers show each other's members and pass envelopes on. Default false: they know nothing of each other. */
  readonly federated?: boolean
}

/** One signaling server of a MemoryNetwork. */
export interface MemoryServer {
  readonly origin: string
  readonly signaling: MemorySignalService
}

/**
 * A whole world in one process, for tests of applications: signaling servers and WebRTC in memory, and a Platform for every
 * peer that `join({ platform })` takes. No socket is opened and nothing is stored.
 */
export interface MemoryNetwork {
  readonly platform: Platform
  readonly rtc: MemoryRtc
  readonly servers: readonly MemoryServer[]
  /** The first server, which also answers at every address that is no other one's. */
  readonly signaling: MemorySignalService
  readonly server: string
}

export async function memoryNetwork(options: MemoryNetworkOptions = {}): Promise<MemoryNetwork> {
  const clock = options.clock ?? systemClock
  const random = options.random ?? systemRandom
  const directory = options.federated ? new MemoryDirectory() : undefined
  const names = Array.from({ length: options.servers ?? 1 }, (_, i) => (i === 0 ? 'memory' : `memory-${i + 1}`))
  const servers: MemoryServer[] = await Promise.all(
    names.map(async (name) => {
      const signaling = new MemorySignalService(clock, random, await generateSigningKey(), directory)
      return { origin: `https://${name}.invalid`, signaling }
    }),
  )
  const [first] = servers as [MemoryServer]
  const rtc = new MemoryRtc(clock)
  const platform: Platform = {
    clock,
    random,
    identities: { acquire: () => ephemeralIdentity() },
    rtc,
    connect: (origin) => {
      const { signaling } = servers.find((server) => server.origin === origin) ?? first
      return {
        transport: createRouterTransport(signalingRoutes(signaling)),
        duplex: options.duplex ?? false,
        close: () => {},
      }
    },
  }
  return { platform, rtc, servers, signaling: first.signaling, server: first.origin }
}

/** Serves a signaling server in memory on any Connect router, for tests that need real sockets. */
export function signalingRoutes(signaling: MemorySignalService): (router: ConnectRouter) => void {
  return ({ service }) => {
    service(SignalService, {
      getChallenge: () => signaling.getChallenge(),
      openSession: (request) => signaling.openSession(request),
      closeSession: (request, context) => signaling.closeSession(request, context),
      join: (request, context) => signaling.join(request, context),
      leave: (request, context) => signaling.leave(request, context),
      subscribe: (request, context) => signaling.subscribe(request, context),
      sendMessage: (request, context) => signaling.sendMessage(request, context),
      exchange: (requests, context) => signaling.exchange(requests, context),
    })
  }
}
