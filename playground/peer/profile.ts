import { nicknameOf } from './nickname.ts'

/**
 * What a peer says about itself in its membership state (MembershipRecord.state): UTF-8 JSON, for example
 * `{"name":"Ada","bot":true}`. Both fields are optional, and others are ignored, so that other programs can add their own.
 */
export interface Profile {
  /** How the peer wants to be called; undefined when it does not say. Cleaned for display. */
  readonly name: string | undefined
  /** True for programs that talk by themselves: they do not answer each other. */
  readonly bot: boolean
}

/** In UTF-16 units. With JSON around it and four bytes a unit, far below the 1,024 bytes of state. */
export const MAX_NAME_LENGTH = 40

export function encodeProfile(profile: { readonly name?: string | undefined; readonly bot?: boolean }): Uint8Array {
  const name = cleanName(profile.name ?? '')
  const fields = { ...(name && { name }), ...(profile.bot && { bot: true }) }
  return Object.keys(fields).length === 0 ? new Uint8Array(0) : new TextEncoder().encode(JSON.stringify(fields))
}

/** Never throws: state that is no profile is an empty one. */
export function decodeProfile(state: Uint8Array): Profile {
  const fields = parseObject(state)
  const name = typeof fields.name === 'string' ? cleanName(fields.name) : ''
  return { name: name || undefined, bot: fields.bot === true }
}

/** What to call a peer: the name it gave, or the nickname of its key. */
export function displayName(peer: { readonly key: Uint8Array; readonly state: Uint8Array }): string {
  return decodeProfile(peer.state).name ?? nicknameOf(peer.key).text
}

/** One line, without control characters and without those that reorder or hide text, cut to length. */
export function cleanName(text: string): string {
  const plain = text.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cn}\u2028\u2029]+/gu, ' ').replace(/\s+/g, ' ')
  return [...new Intl.Segmenter().segment(plain.trim().slice(0, MAX_NAME_LENGTH * 8))]
    .map(({ segment }) => segment)
    .reduce((name, segment) => (name.length + segment.length <= MAX_NAME_LENGTH ? name + segment : name), '')
    .trim()
}

function parseObject(state: Uint8Array): Record<string, unknown> {
  if (state.length === 0) return {}
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(state))
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {} // other programs put other things into their state
  }
}
