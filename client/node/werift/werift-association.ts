import type { PacketChunk } from './sctp-packet-writer.ts'
import type { DtlsTransport, WeriftEvent } from './werift-internals.ts'

/**
 * The parts of werift's SCTP association this folder touches; see `werift-internals.ts`.
 */

/** A chunk of the SCTP send side. */
export interface OutboundChunk extends PacketChunk {
  readonly type: number
  readonly streamId: number
  readonly tsn: number
  readonly bookSize: number
  retransmit: boolean
  misses: number
  sentCount: number
  sentTime: number | undefined
}

/** The SCTP association of one peer connection. */
export interface SctpAssociation {
  readonly isStopped: boolean
  isServer: boolean
  readonly associationState: number
  readonly localPort: number
  readonly remotePort: number | undefined
  readonly localVerificationTag: number
  readonly remoteVerificationTag: number
  readonly maxPayloadSize: number
  readonly mtu: number
  readonly advertisedRwnd: number
  readonly peerRwnd: number
  readonly cwnd: number
  readonly flightSize: number
  readonly fastRecoveryExit: number | undefined
  fastRecoveryTransmit: boolean
  localPartialReliability: boolean
  lastReceivedTsn: number | undefined
  localTsn: number
  lastSackedTsn: number
  advancedPeerAckTsn: number
  reconfigRequestSeq: number
  reconfigResponseSeq: number
  readonly reconfigQueue: number[]
  readonly outboundStreamSeq: Record<number, number>
  outboundQueue: OutboundChunk[]
  readonly sentQueue: OutboundChunk[]
  readonly timer3Handle: unknown
  rto: number
  readonly srtt: number | undefined
  readonly rttvar: number | undefined
  updateRto(measuredSeconds: number): void
  onSackReceived: () => Promise<void>
  sendChunk(chunk: { readonly bytes: Buffer }): Promise<void>
  sendReconfigParam(param: { readonly type: number; readonly bytes: Buffer }): Promise<void>
  receiveChunk(chunk: unknown): Promise<void>
  receiveSackChunk(chunk: unknown): Promise<void>
  receiveReconfigParam(param: unknown): Promise<void>
  transmit(): Promise<void>
  flightSizeIncrease(chunk: OutboundChunk): void
  timer3Start(): void
  timer3Restart(): void
  setState(state: number): void
  stop(): Promise<void>
  readonly stateChanged: { readonly closed: WeriftEvent<[]>; readonly connected: WeriftEvent<[]> }
}

/** werift's numbers for the states of an association. */
export const ASSOCIATION_CLOSED = 1
export const ASSOCIATION_ESTABLISHED = 4

export interface SctpTransport {
  readonly sctp: SctpAssociation
  setDtlsTransport(transport: DtlsTransport): void
}
