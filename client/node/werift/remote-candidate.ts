import { isIP, isIPv4 } from 'node:net'
import { ErrorReason, MeshError } from '@mesh/core'

/**
 * Remote candidates, checked before werift's ICE agent sees them.
 *
 * werift resolves host names found in candidates: a `.local` name that nobody answers blocks addIceCandidate for 10 s, and any
 * other name would let a peer make this machine ask the DNS. Only literal unicast addresses pass. Nothing is lost with browsers
 * that hide their addresses behind `.local` names: their connectivity checks reach us, and ICE learns the address from those
 * (a peer-reflexive candidate, RFC 8445 section 7.3.1.3).
 */

/** Checks of one remote peer are sent to each of its candidates, so their number bounds what a peer can make us send. */
export const MAX_REMOTE_CANDIDATES = 64

/** foundation component transport priority address port "typ" type …, with or without `a=` and `candidate:`. */
const CANDIDATE =
  /^(?:a=)?(?:candidate:)?([A-Za-z0-9+/]{1,32}) ([0-9]{1,3}) (udp|tcp) ([0-9]{1,10}) (\S{1,253}) ([0-9]{1,5}) typ (host|srflx|prflx|relay)(?: |$)/i

/** Longer lines do not occur: the longest legal fields with every extension in use stay under 400 characters. */
const MAX_LINE_LENGTH = 1024

/**
 * Brings a candidate line into the one form werift is given.
 * @returns undefined for a well-formed candidate that is of no use here: a host name, TCP, a component other than 1, or an
 *   address that is not unicast.
 * @throws MeshError INVALID_ARGUMENT when the line is not a candidate.
 */
export function usableCandidate(line: string): string | undefined {
  const match = line.length > MAX_LINE_LENGTH ? null : CANDIDATE.exec(line.trim())
  if (match === null) throw new MeshError(ErrorReason.INVALID_ARGUMENT, 'Not an ICE candidate')
  const [, foundation, component, transport, priority, address, port, type] = match
  const usable =
    component === '1' &&
    transport!.toLowerCase() === 'udp' &&
    isUnicast(address!) &&
    Number(port) >= 1 &&
    Number(port) <= 65_535 &&
    Number(priority) < 2 ** 32
  // werift refuses a signalled candidate that calls itself peer-reflexive; for pairing the kind does not matter.
  const kind = type!.toLowerCase() === 'prflx' ? 'srflx' : type!.toLowerCase()
  return usable ? `${foundation} 1 udp ${priority} ${address} ${port} typ ${kind}` : undefined
}

function isUnicast(address: string): boolean {
  if (isIP(address) === 0) return false
  if (!isIPv4(address)) {
    const lower = address.toLowerCase()
    return !lower.startsWith('ff') && lower !== '::' && !lower.includes('%')
  }
  const first = Number(address.split('.')[0])
  return first > 0 && first < 224
}
