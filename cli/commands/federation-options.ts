import { MeshError } from '@mesh/core'
import { type FederationOptions, parseServerAddress, parseServerKey } from '@mesh/server'
import type { Input, OptionTable } from '../args.ts'
import { UsageError } from '../failure.ts'

const GROUP = 'Several servers as one'
const DEFAULT_REALM = 'mesh'

export const FEDERATION: OptionTable = {
  federate: {
    group: GROUP,
    value: 'address',
    multiple: true,
    meaning: 'another server, mesh+grpc://KEY@host:port or, with TLS, mesh+grpcs://…: the line it prints at its start',
  },
  'federate-allow': {
    group: GROUP,
    value: 'key',
    multiple: true,
    meaning: 'key of a server that may call without being called',
  },
  'federate-ca': { group: GROUP, value: 'file', meaning: 'PEM of whoever signs the certificates of other servers' },
  realm: {
    group: GROUP,
    value: 'name',
    meaning: 'servers work together that say the same here',
    fallback: DEFAULT_REALM,
  },
}

/** What the options say about other servers; undefined when they say nothing. `ca` is the text of --federate-ca. */
export function readFederation(input: Input, ca: Buffer | undefined): FederationOptions | undefined {
  const servers = input.list('federate').map((text) => named(input.label('federate'), () => parseServerAddress(text)))
  const allowed = input.list('federate-allow').map((text) => named(input.label('federate-allow'), () => keyOf(text)))
  const realm = input.text('realm')
  if (servers.length > 0 || allowed.length > 0) {
    return { realm: realm ?? DEFAULT_REALM, servers, allowed, ...(ca === undefined ? {} : { ca }) }
  }
  if (realm === undefined && ca === undefined) return undefined
  const option = input.label(realm === undefined ? 'federate-ca' : 'realm')
  throw new UsageError(`${option} says how servers work together, but none is named`, 'Name one with --federate.')
}

/** --successor-key, or what --federate says of the same server; undefined when neither does. */
export function readSuccessorKey(input: Input, federation: FederationOptions | undefined): Uint8Array | undefined {
  const text = input.text('successor-key')
  const label = input.label('successor-key')
  const successor = input.text('successor')
  if (text !== undefined && successor === undefined)
    throw new UsageError(`${label} is the key of --successor, which is missing`)
  if (text !== undefined) return named(label, () => keyOf(text))
  if (successor === undefined || !URL.canParse(successor)) return undefined
  const { origin } = new URL(successor)
  return federation?.servers.find(({ url }) => url === origin)?.key
}

/** A key, also when the whole address was pasted. */
function keyOf(text: string): Uint8Array {
  return text.includes('@') ? parseServerAddress(text).key : parseServerKey(text)
}

function named<T>(label: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (error instanceof MeshError) throw new UsageError(`${label}: ${error.message}`)
    throw error
  }
}
