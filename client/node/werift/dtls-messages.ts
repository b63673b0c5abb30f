import {
  createHash,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  timingSafeEqual,
  verify,
  X509Certificate,
} from 'node:crypto'

/**
 * Bodies of DTLS 1.2 handshake messages, read strictly, and the proofs in them, checked (RFC 5246 section 7.4, RFC 8422,
 * RFC 7627). werift reads these messages loosely and checks none of the proofs; the guard reads each one here first and hands it
 * on only when it is right. Only what WebRTC needs is accepted: one cipher suite, P-256 certificates, SHA-256.
 */
export const CLIENT_HELLO = 1
export const SERVER_HELLO = 2
export const HELLO_VERIFY_REQUEST = 3
export const CERTIFICATE = 11
export const SERVER_KEY_EXCHANGE = 12
export const CERTIFICATE_REQUEST = 13
export const SERVER_HELLO_DONE = 14
export const CERTIFICATE_VERIFY = 15
export const CLIENT_KEY_EXCHANGE = 16
export const FINISHED = 20

/** TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 */
const CIPHER_SUITE = 0xc02b
const DTLS_1_2 = 0xfefd
const X25519 = 29
const SECP256R1 = 23
const ECDSA_SHA256 = 0x0403
const EXTENSION_GROUPS = 10
const EXTENSION_SIGNATURES = 13
const EXTENSION_EXTENDED_MASTER_SECRET = 23
const ECDSA_SIGN = 64

/** A message that is malformed or asks for something this connection does not do. */
export class HandshakeFault extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'HandshakeFault'
  }
}

/** Reads a body front to back; every step is bounds-checked. */
class Reader {
  readonly #body: Buffer
  #position = 0

  constructor(body: Buffer) {
    this.#body = body
  }

  get left(): number {
    return this.#body.length - this.#position
  }

  uint(byteCount: 1 | 2 | 3): number {
    return this.bytes(byteCount).readUIntBE(0, byteCount)
  }

  bytes(length: number): Buffer {
    if (length > this.left) throw new HandshakeFault('A handshake message is cut short')
    this.#position += length
    return this.#body.subarray(this.#position - length, this.#position)
  }

  /** A vector with its length in front. */
  vector(lengthBytes: 1 | 2 | 3): Buffer {
    return this.bytes(this.uint(lengthBytes))
  }

  end(): void {
    if (this.left !== 0) throw new HandshakeFault('A handshake message has trailing bytes')
  }
}

function uint16List(bytes: Buffer): number[] {
  if (bytes.length % 2 !== 0) throw new HandshakeFault('A list of 16-bit numbers has an odd length')
  return Array.from({ length: bytes.length / 2 }, (_, index) => bytes.readUInt16BE(index * 2))
}

function readExtensions(reader: Reader): Map<number, Buffer> {
  const extensions = new Map<number, Buffer>()
  if (reader.left === 0) return extensions
  const list = new Reader(reader.vector(2))
  while (list.left > 0) {
    const type = list.uint(2)
    if (extensions.has(type)) throw new HandshakeFault('An extension is repeated')
    extensions.set(type, list.vector(2))
  }
  return extensions
}

function requireExtendedMasterSecret(extensions: Map<number, Buffer>): void {
  if (extensions.get(EXTENSION_EXTENDED_MASTER_SECRET)?.length !== 0) {
    throw new HandshakeFault('The extended master secret was not offered')
  }
}

export interface ClientHello {
  readonly random: Buffer
  readonly cookie: Buffer
  readonly groups: readonly number[]
}

export function readClientHello(body: Buffer): ClientHello {
  const reader = new Reader(body)
  if (reader.uint(2) !== DTLS_1_2) throw new HandshakeFault('The client does not speak DTLS 1.2')
  const random = reader.bytes(32)
  if (reader.vector(1).length > 32) throw new HandshakeFault('A session id is too long')
  const cookie = reader.vector(1)
  const suites = uint16List(reader.vector(2))
  const compressions = reader.vector(1)
  const extensions = readExtensions(reader)
  reader.end()
  if (!suites.includes(CIPHER_SUITE)) throw new HandshakeFault('The client does not offer the cipher suite')
  if (!compressions.includes(0)) throw new HandshakeFault('The client insists on compression')
  requireExtendedMasterSecret(extensions)
  const groups = uint16List(new Reader(extensions.get(EXTENSION_GROUPS) ?? Buffer.alloc(2)).vector(2))
  if (!groups.includes(X25519) && !groups.includes(SECP256R1)) throw new HandshakeFault('No common key exchange group')
  const schemes = uint16List(new Reader(extensions.get(EXTENSION_SIGNATURES) ?? Buffer.alloc(2)).vector(2))
  if (!schemes.includes(ECDSA_SHA256)) throw new HandshakeFault('The client does not offer ECDSA with SHA-256')
  return { random, cookie, groups }
}

export function checkHelloVerifyRequest(body: Buffer): void {
  const reader = new Reader(body)
  reader.uint(2)
  if (reader.vector(1).length === 0) throw new HandshakeFault('The cookie is empty')
  reader.end()
}

/** @returns the server's random. */
export function readServerHello(body: Buffer): Buffer {
  const reader = new Reader(body)
  if (reader.uint(2) !== DTLS_1_2) throw new HandshakeFault('The server does not speak DTLS 1.2')
  const random = reader.bytes(32)
  if (reader.vector(1).length > 32) throw new HandshakeFault('A session id is too long')
  if (reader.uint(2) !== CIPHER_SUITE) throw new HandshakeFault('The server chose a cipher suite that was not offered')
  if (reader.uint(1) !== 0) throw new HandshakeFault('The server chose compression')
  const extensions = readExtensions(reader)
  reader.end()
  requireExtendedMasterSecret(extensions)
  return random
}

/**
 * The peer's public key, from a certificate that matches the fingerprint.
 * Nothing else in the certificate matters: the signed fingerprint is what names the peer (RFC 8122).
 */
export function readCertificate(body: Buffer, fingerprint: Buffer): KeyObject {
  const reader = new Reader(body)
  const list = new Reader(reader.vector(3))
  reader.end()
  const certificate = list.vector(3)
  while (list.left > 0) list.vector(3)
  const digest = createHash('sha256').update(certificate).digest()
  if (!timingSafeEqual(digest, fingerprint)) throw new HandshakeFault('The certificate does not match the fingerprint')
  const key = new X509Certificate(certificate).publicKey
  if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new HandshakeFault('The certificate key is not ECDSA P-256')
  }
  return key
}

/** Checks the point and the server's signature over both randoms and the parameters (RFC 8422 section 5.4). */
export function checkServerKeyExchange(
  body: Buffer,
  proof: { key: KeyObject; clientRandom: Buffer; serverRandom: Buffer },
): void {
  const reader = new Reader(body)
  if (reader.uint(1) !== 3) throw new HandshakeFault('The curve is not a named one')
  const group = reader.uint(2)
  const point = reader.vector(1)
  const parameters = body.subarray(0, 4 + point.length)
  const scheme = reader.uint(2)
  const signature = reader.vector(2)
  reader.end()
  checkPoint(group, point)
  const signed = Buffer.concat([proof.clientRandom, proof.serverRandom, parameters])
  if (scheme !== ECDSA_SHA256 || !verify('sha256', signed, proof.key, signature)) {
    throw new HandshakeFault('The signature of ServerKeyExchange is wrong')
  }
}

export function checkCertificateRequest(body: Buffer): void {
  const reader = new Reader(body)
  const types = reader.vector(1)
  const schemes = uint16List(reader.vector(2))
  const names = new Reader(reader.vector(2))
  reader.end()
  while (names.left > 0) names.vector(2)
  if (!types.includes(ECDSA_SIGN) || !schemes.includes(ECDSA_SHA256)) {
    throw new HandshakeFault('The server does not accept ECDSA certificates')
  }
}

export function checkClientKeyExchange(body: Buffer, group: number): void {
  const reader = new Reader(body)
  checkPoint(group, reader.vector(1))
  reader.end()
}

/** Checks the client's signature over every handshake message before this one (RFC 5246 section 7.4.8). */
export function checkCertificateVerify(body: Buffer, proof: { key: KeyObject; transcript: Buffer }): void {
  const reader = new Reader(body)
  const scheme = reader.uint(2)
  const signature = reader.vector(2)
  reader.end()
  if (scheme !== ECDSA_SHA256 || !verify('sha256', proof.transcript, proof.key, signature)) {
    throw new HandshakeFault('The signature of CertificateVerify is wrong')
  }
}

/** Checks the peer's proof that it saw the same handshake (RFC 5246 section 7.4.9). */
export function checkFinished(
  body: Buffer,
  proof: { masterSecret: Buffer; transcript: Buffer; sender: 'client' | 'server' },
): void {
  const seed = Buffer.concat([
    Buffer.from(`${proof.sender} finished`),
    createHash('sha256').update(proof.transcript).digest(),
  ])
  const hmac = (data: Buffer) => createHmac('sha256', proof.masterSecret).update(data).digest()
  // P_SHA256 of 12 bytes: the first block is enough (RFC 5246 section 5).
  const expected = hmac(Buffer.concat([hmac(seed), seed])).subarray(0, 12)
  if (body.length !== expected.length || !timingSafeEqual(body, expected)) {
    throw new HandshakeFault('The Finished message is wrong')
  }
}

/** Refuses points that are not on the curve or lead to an all-zero secret (RFC 8422 section 5.11). */
function checkPoint(group: number, point: Buffer): void {
  try {
    if (group === X25519 && point.length === 32) {
      const publicKey = createPublicKey({
        key: { kty: 'OKP', crv: 'X25519', x: point.toString('base64url') },
        format: 'jwk',
      })
      diffieHellman({ privateKey: generateKeyPairSync('x25519').privateKey, publicKey })
      return
    }
    if (group === SECP256R1 && point.length === 65 && point[0] === 4) {
      const x = point.subarray(1, 33).toString('base64url')
      const y = point.subarray(33).toString('base64url')
      createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' })
      return
    }
  } catch {
    // Node says which check failed in its own words; all of them mean the same here.
  }
  throw new HandshakeFault('The key exchange point is not valid')
}
