import { ErrorReason, MeshError } from '@mesh/client'

/** What happened, for whoever uses the page. The reason decides; what is not listed keeps the SDK's own message. */
const WORDS: Partial<Record<ErrorReason, string>> = {
  [ErrorReason.UNREACHABLE]: 'The server does not answer.',
  [ErrorReason.DRAINING]: 'The server is shutting down.',
  [ErrorReason.DEADLINE_EXCEEDED]: 'There was no answer in time.',
  [ErrorReason.LIMIT_EXCEEDED]: 'That is more than is allowed at once; try again in a moment.',
  [ErrorReason.ABORTED]: 'It was called off.',
  [ErrorReason.SESSION_REPLACED]: 'Another window took over this identity. Reload the page to get a new one.',
  [ErrorReason.SESSION_UNKNOWN]: 'The server was restarted.',
  [ErrorReason.IDENTITY_UNAVAILABLE]:
    'This browser does not let the page keep a key (private mode, or storage is blocked).',
  [ErrorReason.PEER_LEFT]: 'They left the party.',
  [ErrorReason.PEER_RESTARTED]: 'They started again before it arrived.',
  [ErrorReason.PEER_ASLEEP]: 'They are not answering; their device may be asleep.',
  [ErrorReason.RECIPIENT_ABSENT]: 'They are not reachable right now.',
  [ErrorReason.LINK_TIMEOUT]: 'The connection to them could not be made in time.',
  [ErrorReason.LINK_CLOSED]: 'The connection to them ended.',
  [ErrorReason.LINK_REFUSED]: 'They hold as many connections as they can.',
  [ErrorReason.CHANNEL_CLOSED]: 'They do not take this.',
  [ErrorReason.ADMISSION_REFUSED]: 'They are not in the same party.',
  [ErrorReason.MESSAGE_TOO_LARGE]: 'That message is too long.',
  [ErrorReason.NO_CANDIDATES]: 'No network address was found to connect from.',
  [ErrorReason.ICE_FAILED]: 'The two networks do not let a direct connection through.',
  [ErrorReason.DTLS_FAILED]: 'Something between the two disturbs the direct connection.',
  [ErrorReason.RTC_UNAVAILABLE]: 'WebRTC is not available or not allowed, so everything goes through the server.',
}

/** One or two sentences for a person. */
export function explain(error: unknown): string {
  const { reason, message } = MeshError.from(error)
  return WORDS[reason] ?? sentence(message)
}

function sentence(text: string): string {
  const capital = text.charAt(0).toUpperCase() + text.slice(1)
  return /[.!?…]$/.test(capital) ? capital : `${capital}.`
}
