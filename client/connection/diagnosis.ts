import { ErrorReason, type MeshError } from '@mesh/core'
import type { DropCounts } from './connections.ts'
import type { PeerConnection } from './peer-connection.ts'
import type { CandidateCounts } from './rtc-attempt.ts'

/** What a connection is doing, and what keeps it from doing better. */
export interface Diagnosis {
  readonly connection: 'idle' | 'calling' | 'linked'
  readonly path: 'none' | 'relay' | 'direct'
  readonly rttMs: number | undefined
  /** Attempts at WebRTC since the last one that held, and what they saw. */
  readonly direct: {
    readonly state: 'off' | 'connecting' | 'open' | 'waiting'
    readonly attempts: number
    readonly candidates: Readonly<CandidateCounts>
    readonly error: MeshError | undefined
  }
  /** Why there is no link, when there is none. */
  readonly error: MeshError | undefined
  /** Packets of this link that came twice, or that its keys did not open. */
  readonly packets: {
    readonly sent: number
    readonly received: number
    readonly replayed: number
    readonly rejected: number
  }
  /** Envelopes of all peers this client dropped, by reason. */
  readonly dropped: Readonly<DropCounts>
  /** One sentence for each cause, saying what to do. */
  readonly advice: readonly string[]
}

const ADVICE: Partial<Record<ErrorReason, string>> = {
  [ErrorReason.NO_CANDIDATES]:
    'One side found no network address: check that it is online and that WebRTC is not blocked by policy.',
  [ErrorReason.ICE_FAILED]: 'The networks do not let the two connect directly: offer a TURN server to both.',
  [ErrorReason.DTLS_FAILED]:
    'The network connects but the encrypted channel does not open: something between alters or drops UDP.',
  [ErrorReason.RTC_UNAVAILABLE]: 'One side has no WebRTC, or does not allow it: messages stay on the relay path.',
  [ErrorReason.LINK_REFUSED]: 'The other peer holds as many links as its topology allows.',
  [ErrorReason.LINK_TIMEOUT]: 'The peer is listed but does not answer: it is asleep, or its server cannot reach it.',
  [ErrorReason.PEER_ASLEEP]: 'The peer is listed but does not answer: it is asleep, or its server cannot reach it.',
  [ErrorReason.RECIPIENT_ABSENT]: 'The server does not see the peer: it has just left, or is reconnecting.',
  [ErrorReason.ADMISSION_REFUSED]: 'The two are not in the same party: compare the party key or name on both sides.',
  [ErrorReason.RELAY_CREDENTIALS]: 'The TURN credentials expired or were refused: check the TURN secret of the server.',
  [ErrorReason.CONFIGURATION]: 'The two leave each other no path: compare the `relay` option on both sides.',
  [ErrorReason.UNREACHABLE]: 'The signaling server cannot be reached.',
}

/** Puts together what is known of a peer. `gone`: why it is not in the swarm any more. */
export function diagnose(
  connection: PeerConnection | undefined,
  { path, gone, dropped }: Pick<Diagnosis, 'path' | 'dropped'> & { readonly gone: MeshError | undefined },
): Diagnosis {
  const linked = connection?.linked
  return {
    connection: connection?.state ?? 'idle',
    path,
    rttMs: linked?.link.rttMs,
    direct: {
      state: linked?.direct.state ?? 'off',
      attempts: linked?.direct.tries ?? 0,
      candidates: { ...(linked?.direct.candidates ?? { local: 0, remote: 0 }) },
      error: linked?.direct.lastError,
    },
    error: connection?.lastError ?? gone,
    packets: { ...(linked?.counts ?? { sent: 0, received: 0, replayed: 0, rejected: 0 }) },
    dropped: { ...dropped },
    advice: advise([connection?.lastError, linked?.direct.lastError, linked?.relayError, gone]),
  }
}

/** What to do about the errors, without repetition. */
function advise(errors: readonly (MeshError | undefined)[]): string[] {
  const advice = errors.map((error) => error && ADVICE[error.reason]).filter((text) => text !== undefined)
  return [...new Set(advice)]
}
