import type { KeyObject } from 'node:crypto'
import {
  CERTIFICATE,
  CERTIFICATE_REQUEST,
  CERTIFICATE_VERIFY,
  CLIENT_KEY_EXCHANGE,
  checkCertificateRequest,
  checkCertificateVerify,
  checkClientKeyExchange,
  checkFinished,
  checkHelloVerifyRequest,
  checkServerKeyExchange,
  FINISHED,
  HandshakeFault,
  HELLO_VERIFY_REQUEST,
  readCertificate,
  readServerHello,
  SERVER_HELLO,
  SERVER_HELLO_DONE,
  SERVER_KEY_EXCHANGE,
} from './dtls-messages.ts'
import type { DtlsSocket, HandshakeMessage } from './werift-internals.ts'

/**
 * Which handshake message may come when, and what must be true of it. werift accepts messages in any order and leaves every
 * proof unchecked: the server's signature over its key exchange, the client's over the transcript, and both Finished messages.
 *
 * As client we expect, in this order:
 *   1. HelloVerifyRequest (optional)  2. ServerHello  3. Certificate  4. ServerKeyExchange  5. CertificateRequest
 *   6. ServerHelloDone  7. Finished, encrypted
 * As server, once the client's hello has returned our cookie:
 *   1. Certificate  2. ClientKeyExchange  3. CertificateVerify  4. Finished, encrypted
 */
const EXPECTED_BY_CLIENT = [
  SERVER_HELLO,
  CERTIFICATE,
  SERVER_KEY_EXCHANGE,
  CERTIFICATE_REQUEST,
  SERVER_HELLO_DONE,
  FINISHED,
] as const
const EXPECTED_BY_SERVER = [CERTIFICATE, CLIENT_KEY_EXCHANGE, CERTIFICATE_VERIFY, FINISHED] as const

export class HandshakeChecks {
  readonly #role: 'client' | 'server'
  readonly #socket: DtlsSocket
  readonly #fingerprint: Buffer
  #step = 0
  #serverRandom: Buffer | undefined
  #peerKey: KeyObject | undefined

  constructor(role: 'client' | 'server', socket: DtlsSocket, fingerprint: Buffer) {
    this.#role = role
    this.#socket = socket
    this.#fingerprint = fingerprint
  }

  /**
   * Passes a message that is the expected one and right.
   * @throws HandshakeFault otherwise; the connection must not go on.
   */
  check(message: HandshakeMessage, encrypted: boolean): void {
    const type = message.msg_type
    if (type === HELLO_VERIFY_REQUEST && this.#role === 'client' && this.#step === 0 && !encrypted) {
      checkHelloVerifyRequest(message.fragment)
      return
    }
    const expected = (this.#role === 'client' ? EXPECTED_BY_CLIENT : EXPECTED_BY_SERVER)[this.#step]
    if (type !== expected || encrypted !== (type === FINISHED)) {
      throw new HandshakeFault(`Handshake message ${type} is out of order`)
    }
    this.#checkBody(type, message.fragment)
    this.#step += 1
  }

  #checkBody(type: number, body: Buffer): void {
    switch (type) {
      case SERVER_HELLO:
        this.#serverRandom = readServerHello(body)
        return
      case CERTIFICATE:
        this.#peerKey = readCertificate(body, this.#fingerprint)
        return
      case SERVER_KEY_EXCHANGE:
        checkServerKeyExchange(body, {
          key: this.#peerKey!,
          clientRandom: this.#socket.cipher.localRandom.serialize(),
          serverRandom: this.#serverRandom!,
        })
        return
      case CERTIFICATE_REQUEST:
        checkCertificateRequest(body)
        return
      case SERVER_HELLO_DONE:
        if (body.length !== 0) throw new HandshakeFault('ServerHelloDone has a body')
        return
      case CLIENT_KEY_EXCHANGE:
        checkClientKeyExchange(body, this.#socket.cipher.namedCurve ?? 0)
        return
      case CERTIFICATE_VERIFY:
        checkCertificateVerify(body, { key: this.#peerKey!, transcript: this.#transcript() })
        return
      default:
        checkFinished(body, {
          masterSecret: this.#socket.cipher.masterSecret ?? Buffer.alloc(0),
          transcript: this.#transcript(),
          sender: this.#role === 'client' ? 'server' : 'client',
        })
    }
  }

  /** Every handshake message so far, ours and the peer's, without the cookie exchange: werift keeps them for its own proofs. */
  #transcript(): Buffer {
    return Buffer.concat(this.#socket.dtls.sortedHandshakeCache.map((message) => message.serialize()))
  }
}
