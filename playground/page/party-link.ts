import { MeshError, type PartyInput, parseMeshAddress } from '@mesh/client'

/**
 * The party in the address of the page: `#our-party`, `#key/<64 hex digits>` or `#topic/<64 hex digits>`. The fragment never
 * leaves the browser, and the name of a party is its secret.
 */
export interface PartyLink {
  /** As it stands in the address, decoded: what people read and edit. */
  readonly text: string
  readonly party: PartyInput
}

/** Reads what somebody typed or followed. Throws ADDRESS_INVALID saying what is wrong. */
export function parsePartyText(text: string): PartyLink {
  const trimmed = text.trim()
  const path = /^(key|topic)\//.test(trimmed) ? trimmed : encodeURIComponent(trimmed)
  // The SDK's own rules for what a party is; the host plays no part.
  const { party } = parseMeshAddress(`mesh://localhost/${path}`)
  if (party === undefined) return { text: '', party: '' }
  return { text: typeof party === 'string' ? party : trimmed, party }
}

/** The party an address names: its fragment, else `?party=`, else the default. */
export function partyTextOf(url: URL, fallback: string): string {
  const fragment = decode(url.hash.slice(1))
  return (fragment || url.searchParams.get('party') || fallback).trim() || fallback
}

/** The address that leads others here. */
export function partyUrl(url: URL, text: string): string {
  const link = new URL(url.pathname, url.origin)
  link.hash = /^(key|topic)\//.test(text) ? text : encodeURIComponent(text)
  return link.href
}

/** What is wrong with a party somebody typed; undefined when nothing is. */
export function partyProblem(text: string): string | undefined {
  if (text.trim() === '') return 'Give the party a name.'
  const [, kind, digits] = /^(key|topic)\/(.*)$/.exec(text.trim()) ?? []
  if (digits !== undefined && !/^[0-9a-f]{64}$/i.test(digits)) {
    return `After "${kind}/" stand 64 hexadecimal digits; here are ${digits.length} characters.`
  }
  try {
    parsePartyText(text)
    return undefined
  } catch (error) {
    return MeshError.from(error).message
  }
}

function decode(fragment: string): string {
  try {
    return decodeURIComponent(fragment)
  } catch {
    return fragment // a "%" somebody typed by hand
  }
}
