import { type ConnectRouter, createRouterTransport } from '@connectrpc/connect'
import { type Clock, generateSigningKey, type Random, type SigningKey, systemClock, systemRandom } from '@mesh/core'
import { SignalService } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { ephemeralIdentity } from '../identity/identity.ts'
import type { Platform } from '../platform.ts'
import { MemoryRtc } from './memory-rtc.ts'
import { MemorySignalService } from './memory-signal-service.ts'

export interface MemoryNetworkOptions {
  /** Default: the system's. Give a VirtualClock to own time. */
  readonly clock?: Clock
  readonly random?: Random
  /** Peers use Exchange, as Node does, instead of Subscribe and SendMessage, as browsers do. Default false. */
  readonly duplex?: boolean
}

/**
 * A whole world in one process, for tests of applications: a signaling server and WebRTC in memory, and a Platform for every
 * peer that `join({ platform })` takes. No socket is opened and nothing is stored.
 */
export interface MemoryNetwork {
  readonly platform: Platform
  readonly signaling: MemorySignalService
  readonly rtc: MemoryRtc
  /** Any address does; this one says what it is. */
  readonly server: string
}

export async function memoryNetwork(options: MemoryNetworkOptions = {}): Promise<MemoryNetwork> {
  const clock = options.clock ?? systemClock
  const random = options.random ?? systemRandom
  const key: SigningKey = await generateSigningKey()
  const signaling = new MemorySignalService(clock, random, key)
  const rtc = new MemoryRtc(clock)
  const platform: Platform = {
    clock,
    random,
    identities: { acquire: () => ephemeralIdentity() },
    rtc,
    connect: () => ({
      transport: createRouterTransport(signalingRoutes(signaling)),
      duplex: options.duplex ?? false,
      close: () => {},
    }),
  }
  return { platform, signaling, rtc, server: 'https://memory.invalid' }
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
