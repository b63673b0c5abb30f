import { type MeshAddress, type PartyInput, parseMeshAddress } from '@mesh/client'
import { UsageError } from './failure.ts'

/** Server of parties that are given by name, when nothing else says. */
export const DEFAULT_SERVER = 'mesh://localhost:4600'

/** Where a party meets. */
export interface PartyAddress {
  /** Origins of the servers, "http://localhost:4600". */
  readonly origins: readonly string[]
  /** The same, for people. */
  readonly origin: string
  readonly party: PartyInput
  /** For people: "our-party", "key 3f2a…". */
  readonly label: string
}

export interface PartyAddressOptions {
  /** --server. */
  readonly server: string | undefined
  /** MESH_SERVER. */
  readonly environmentServer: string | undefined
}

/**
 * Reads the <party> of a command: a whole address (mesh://host/our-party), or a name, key/<64 hex> or topic/<64 hex> at the
 * server of --server, MESH_SERVER or this machine. Throws MeshError ADDRESS_INVALID, or a UsageError when two servers are given.
 */
export function parsePartyAddress(text: string, { server, environmentServer }: PartyAddressOptions): PartyAddress {
  if (!text.includes('://'))
    return readAddress(`${serverBase(server ?? (environmentServer || DEFAULT_SERVER))}/${partyPath(text)}`)
  if (server !== undefined) {
    throw new UsageError(
      'a server is named twice',
      `"${text}" names one already: leave out --server, or name the party only.`,
    )
  }
  return readAddress(text)
}

function readAddress(text: string): PartyAddress {
  const { origins, party } = parseMeshAddress(text)
  if (party === undefined)
    throw new UsageError(`"${text}" names a server but no party`, `Add one: ${text.replace(/\/$/, '')}/our-party`)
  return { origins, origin: origins.join(', '), party, label: partyLabel(party) }
}

function serverBase(server: string): string {
  const base = (server.includes('://') ? server : `mesh://${server}`).replace(/\/$/, '')
  const { party }: MeshAddress = parseMeshAddress(base)
  if (party !== undefined) throw new UsageError(`"${server}" names a party where only a server is expected`)
  return base
}

/** A name may hold any character; keys and topics are paths already. */
function partyPath(text: string): string {
  return /^(key|topic)\//.test(text) ? text : encodeURIComponent(text)
}

function partyLabel(party: PartyInput): string {
  if (typeof party === 'string') return party
  if (party instanceof Uint8Array) return `the party with key ${shortHex(party)}`
  return `the topic ${shortHex(party.topic)}`
}

function shortHex(bytes: Uint8Array): string {
  return `${Buffer.from(bytes.subarray(0, 4)).toString('hex')}…`
}
