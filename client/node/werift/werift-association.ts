import type { DtlsTransport, WeriftEvent } from './werift-internals.ts'

/**
 * The parts of werift's SCTP association this folder touches; see `werift-internals.ts`.
 */

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
  localPartialReliability: boolean
  lastReceivedTsn: number | undefined
  localTsn: number
  lastSackedTsn: number
  reconfigRequestSeq: number
  reconfigResponseSeq: number
  readonly reconfigQueue: number[]
  readonly outboundStreamSeq: Record<number, number>
  rto: number
  sendChunk(chunk: { readonly bytes: Buffer }): Promise<void>
  sendReconfigParam(param: { readonly type: number; readonly bytes: Buffer }): Promise<void>
  receiveChunk(chunk: unknown): Promise<void>
  receiveReconfigParam(param: unknown): Promise<void>
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
