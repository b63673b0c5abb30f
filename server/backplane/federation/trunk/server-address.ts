import { checkPublicKey, ErrorReason, fromHex, MeshError, toHex } from '@mesh/core'
import type { ServerAddress } from './trunk.ts'

const FORM = 'mesh+grpc://KEY@host:port'

/**
 * Reads the address that one operator gives to another: `mesh+grpc://KEY@host:port` for plaintext HTTP/2,
 * `mesh+grpcs://KEY@host:port` for TLS. KEY is the server's public key, 64 hexadecimal digits; the port is never left out.
 * @throws MeshError ADDRESS_INVALID saying which part is wrong.
 */
export function parseServerAddress(text: string): ServerAddress {
  const match = /^mesh\+grpc(s?):\/\/(?:([^@]*)@)?([^@/?#]+)\/?$/.exec(text)
  if (!match) throw invalid(text, `is not of the form ${FORM}`)
  const [, secure = '', key, authority = ''] = match
  if (key === undefined) throw invalid(text, `names no server key; the form is ${FORM}`)
  const parts = /^(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(authority)
  if (parts && parts[2] === undefined) throw invalid(text, `names no port; the form is ${FORM}`)
  const url = `http${secure}://${authority}`
  if (!parts || !URL.canParse(url) || parts[2] === '0') throw invalid(text, 'has no valid host and port')
  return { key: parseServerKey(key), url: new URL(url).origin }
}

/** The address as `parseServerAddress` reads it. `url` is an http or https origin. */
export function formatServerAddress({ key, url }: ServerAddress): string {
  const { protocol, hostname, port } = new URL(url)
  const secure = protocol === 'https:'
  return `mesh+grpc${secure ? 's' : ''}://${toHex(key)}@${hostname}:${port || (secure ? '443' : '80')}`
}

/**
 * Reads a server's public key: 64 hexadecimal digits, as servers print it.
 * @throws MeshError ADDRESS_INVALID when it is none, KEY_INVALID when no signature could ever be checked with it.
 */
export function parseServerKey(text: string): Uint8Array {
  if (!/^[0-9a-f]{64}$/i.test(text)) {
    const message = `a server key has 64 hexadecimal digits, "${text.slice(0, 80)}" is none`
    throw new MeshError(ErrorReason.ADDRESS_INVALID, message)
  }
  const key = fromHex(text)
  checkPublicKey(key)
  return key
}

function invalid(text: string, why: string): MeshError {
  return new MeshError(ErrorReason.ADDRESS_INVALID, `server address "${text.slice(0, 200)}" ${why}`)
}
