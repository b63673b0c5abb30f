import { ErrorReason, MeshError } from '@mesh/core'
import type { RtcSessionDescription } from '../../connection/rtc.ts'
import { MAX_REMOTE_CANDIDATES, usableCandidate } from './remote-candidate.ts'

/**
 * Remote session descriptions (RFC 8866, RFC 8841), read strictly and written anew.
 *
 * werift's parser takes whatever it finds: several fingerprints, of which one has to match; weak hashes; media sections that
 * make it allocate transceivers. So the few facts a data channel needs are taken out of the remote text here, each with its own
 * pattern, and werift parses only text that this module wrote.
 */
export interface RemoteDescription {
  readonly type: 'offer' | 'answer'
  /** SHA-256 of the peer's certificate, the only thing that ties the DTLS connection to the signed signal. 32 bytes. */
  readonly fingerprint: Buffer
  /** For werift. */
  readonly sdp: string
  /** Candidates that came inside the description, in the form of `usableCandidate`. */
  readonly candidates: readonly string[]
}

/** A description with one data channel section and 64 candidates of 100 bytes is under 8 KiB. */
const MAX_SDP_LENGTH = 32_768

const FINGERPRINT = /^sha-256 ((?:[0-9A-F]{2}:){31}[0-9A-F]{2})$/i
const ICE_UFRAG = /^[A-Za-z0-9+/]{4,256}$/
const ICE_PWD = /^[A-Za-z0-9+/]{22,256}$/
const TOKEN = /^[A-Za-z0-9_-]{1,32}$/
const APPLICATION_SECTION = /^application [0-9]+ (?:UDP|TCP)\/DTLS\/SCTP webrtc-datachannel$/

/**
 * Reads a remote description.
 * @throws MeshError DTLS_FAILED unless there is exactly one fingerprint and it is SHA-256; INVALID_ARGUMENT for anything else
 *   that is missing, repeated or malformed.
 */
export function readRemoteDescription(description: RtcSessionDescription): RemoteDescription {
  const { type, sdp } = description
  if ((type !== 'offer' && type !== 'answer') || typeof sdp !== 'string') throw malformed('the type')
  if (sdp.length > MAX_SDP_LENGTH) throw malformed('the length')
  const lines = sdp.split(/\r\n|\n/)
  const sections = lines.filter((line) => line.startsWith('m='))
  if (sections.length !== 1 || !APPLICATION_SECTION.test(sections[0]!.slice(2))) throw malformed('the media sections')
  const fingerprint = readFingerprint(lines)
  const setup = one(lines, 'setup', type === 'offer' ? /^actpass$/ : /^(?:active|passive)$/)
  const mid = one(lines, 'mid', TOKEN)
  const port = one(lines, 'sctp-port', /^[0-9]{1,5}$/)
  if (Number(port) < 1 || Number(port) > 65_535) throw malformed('sctp-port')
  const candidates = all(lines, 'candidate')
  if (candidates.length > MAX_REMOTE_CANDIDATES) throw malformed('the number of candidates')
  const written = [
    'v=0',
    'o=- 1 1 IN IP4 0.0.0.0',
    's=-',
    't=0 0',
    `a=group:BUNDLE ${mid}`,
    'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
    'c=IN IP4 0.0.0.0',
    `a=mid:${mid}`,
    `a=ice-ufrag:${one(lines, 'ice-ufrag', ICE_UFRAG)}`,
    `a=ice-pwd:${one(lines, 'ice-pwd', ICE_PWD)}`,
    'a=ice-options:trickle',
    `a=fingerprint:sha-256 ${fingerprint}`,
    `a=setup:${setup}`,
    `a=sctp-port:${port}`,
    'a=max-message-size:65536',
  ]
  return {
    type,
    fingerprint: Buffer.from(fingerprint.replaceAll(':', ''), 'hex'),
    sdp: `${written.join('\r\n')}\r\n`,
    candidates: candidates.map(usableCandidate).filter((candidate) => candidate !== undefined),
  }
}

function readFingerprint(lines: readonly string[]): string {
  const values = all(lines, 'fingerprint')
  if (values.length !== 1) {
    throw new MeshError(ErrorReason.DTLS_FAILED, `Expected exactly one certificate fingerprint, found ${values.length}`)
  }
  const match = FINGERPRINT.exec(values[0]!)
  if (match === null) throw new MeshError(ErrorReason.DTLS_FAILED, 'The certificate fingerprint is not SHA-256')
  return match[1]!.toUpperCase()
}

/** Values of an attribute, wherever in the description they stand. */
function all(lines: readonly string[], attribute: string): string[] {
  const prefix = `a=${attribute}:`
  return lines.filter((line) => line.startsWith(prefix)).map((line) => line.slice(prefix.length))
}

function one(lines: readonly string[], attribute: string, pattern: RegExp): string {
  const values = all(lines, attribute)
  if (values.length !== 1 || !pattern.test(values[0]!)) throw malformed(attribute)
  return values[0]!
}

function malformed(what: string): MeshError {
  return new MeshError(ErrorReason.INVALID_ARGUMENT, `The remote description is not acceptable: ${what}`)
}
