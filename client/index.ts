/**
 * @mesh/client: join swarms and talk to peers, the same in browsers and Node. What is not listed here is private.
 */
import { platform } from '#platform'
import { type ClientOptions, createClientOn, type JoinOptions, joinOn, type MeshClient } from './mesh-client.ts'
import type { Swarm } from './swarm/swarm.ts'

/**
 * Joins a swarm: `join('mesh://localhost:4600/our-party')`, or with everything said: `join({ servers, party, ... })`.
 *
 * Resolves when the directory of the server has this peer, and keeps trying until then; pass `signal` to give up. The swarm
 * has a client of its own, which closes with it: use `createClient` for several swarms of one peer. Rejects with a MeshError:
 * ADDRESS_INVALID, KEY_INVALID, IDENTITY_UNAVAILABLE, SERVER_KEY_MISMATCH, SESSION_REPLACED, ABORTED, or the server's refusal.
 */
export function join(target: string | JoinOptions, options?: Omit<JoinOptions, 'party' | 'servers'>): Promise<Swarm> {
  return joinOn(platform(), target, options)
}

/** Makes a client: one peer that may join several swarms over one session and one link per other peer. */
export function createClient(options: ClientOptions): Promise<MeshClient> {
  return createClientOn(platform(), options)
}

// For applications
export { ErrorReason, formatPeerId, MeshError, parsePeerId } from '@mesh/core'
export type { MeshAddress, PartyInput } from './address.ts'
export { parseMeshAddress } from './address.ts'
export type { Admission, AdmissionContext } from './connection/admission.ts'
export type { Diagnosis } from './connection/diagnosis.ts'
// For adapters
export type { RtcConfiguration, RtcConnection, RtcDataChannel, RtcFactory, RtcIceServer } from './connection/rtc.ts'
export type { RelayUse } from './connection/topic-handle.ts'
export type { Identity, IdentityStore } from './identity/identity.ts'
export type { Lifecycle, LifecycleEvent } from './lifecycle.ts'
export type { ClientOptions, JoinOptions, MeshClient } from './mesh-client.ts'
export type { Platform, SignalTransport } from './platform.ts'
export type { ServerStatus } from './signal/signal-clients.ts'
export type { SendReport } from './swarm/broadcast.ts'
export type { Channel, ChannelType } from './swarm/channel.ts'
export type { SwarmEvents, SwarmStatus } from './swarm/events.ts'
export type { Message, MessageData } from './swarm/message.ts'
export type { Peer } from './swarm/peer.ts'
export type { OpenChannelOptions, RequestOptions, SendOptions } from './swarm/peer-calls.ts'
export type { PeerEvents, PeerPath, PeerRestart } from './swarm/peer-events.ts'
export type { PeerPresence } from './swarm/presence.ts'
export type { RequestHandler } from './swarm/requests.ts'
export type { Swarm } from './swarm/swarm.ts'
export type { SwarmOptions } from './swarm/swarm-options.ts'
export { automatic, boundedMesh, fullMesh, star, type Topology } from './swarm/topology/topology.ts'
