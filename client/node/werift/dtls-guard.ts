import { type Clock, ErrorReason, MeshError } from '@mesh/core'
import { DtlsFlight } from './dtls-flight.ts'
import { CLIENT_HELLO, type ClientHello, FINISHED, HandshakeFault, readClientHello } from './dtls-messages.ts'
import {
  type DtlsRecord,
  parseRecords,
  RECORD_ALERT,
  RECORD_APPLICATION_DATA,
  RECORD_HANDSHAKE,
  type RecordOpener,
  ReplayWindow,
} from './dtls-record.ts'
import { FlightComposer } from './flight-composer.ts'
import { HandshakeChecks } from './handshake-checks.ts'
import { type CompleteHandshake, HandshakeReassembly } from './handshake-reassembly.ts'
import type { DtlsClient, DtlsSocket, WeriftCertificate, WeriftModule } from './werift-internals.ts'

/**
 * One DTLS 1.2 connection: werift composes the flights, everything that touches the network is done here.
 *
 * What werift's own socket does, and this one therefore keeps away from it:
 * - It believes unencrypted alerts, unknown records and new hellos after the handshake. Here a record of epoch 0 changes
 *   nothing once the connection stands, and an alert counts only when it is encrypted.
 * - It checks neither signatures nor Finished nor the order of messages (`handshake-checks.ts` does).
 * - It sleeps 100 ms before the first flight, gives up when a HelloVerifyRequest arrives twice, answers nothing to a peer that
 *   lost the last flight, and keeps sleeping, and Node running, after the end. Here one timer repeats the last flight.
 *
 * The flow:
 *   1. `start` lets werift compose the first flight (client) or waits (server).
 *   2. Each datagram is cut into records, handshake fragments into messages, and each message is checked, once and in order.
 *   3. A checked message goes to werift, which answers by composing a flight (`flight-composer.ts`); the flight is sent and
 *      repeated from here (`dtls-flight.ts`).
 *   4. After the peer's Finished the connection stands, and only application data and alerts are read.
 */
export interface DtlsGuardOptions {
  readonly werift: WeriftModule
  readonly role: 'client' | 'server'
  readonly certificate: WeriftCertificate
  /** SHA-256 of the certificate the peer must present and hold the key of. */
  readonly fingerprint: Buffer
  readonly clock: Clock
  /** Sends one datagram to the peer; may drop it. */
  readonly send: (datagram: Buffer) => void
  readonly onConnected: () => void
  readonly onData: (plaintext: Buffer) => void
  /** The peer closed the connection, authentically. */
  readonly onPeerClosed: () => void
  /** The handshake failed. Called at most once, never after `onConnected`. */
  readonly onFailed: (error: MeshError) => void
}

export class DtlsGuard {
  readonly #options: DtlsGuardOptions
  readonly #composer: FlightComposer
  readonly #checks: HandshakeChecks
  readonly #reassembly = new HandshakeReassembly()
  readonly #replay = new ReplayWindow()
  readonly #flight: DtlsFlight
  #state: 'handshake' | 'connected' | 'closed' = 'handshake'
  #opener: RecordOpener | undefined
  #early: DtlsRecord[] = []
  #busy = false
  #firstHello: ClientHello | undefined
  #cookieReturned = false
  #hellosAnswered = 0

  constructor(options: DtlsGuardOptions) {
    this.#options = options
    const { werift, certificate, clock, send } = options
    const onExhausted = () => this.#fail(new HandshakeFault('The peer stopped answering during the DTLS handshake'))
    this.#flight = new DtlsFlight({ clock, send, onExhausted })
    this.#composer = new FlightComposer(werift, options.role, certificate)
    this.#checks = new HandshakeChecks(options.role, this.socket, options.fingerprint)
  }

  /** werift's own socket, for its transport to refer to. */
  get socket(): DtlsSocket {
    return this.#composer.socket
  }

  /** Begins the handshake. */
  start(): void {
    if (this.#options.role !== 'client') return
    this.#compose(() => (this.socket as DtlsClient).connect(), true).catch((error: unknown) => this.#fail(error))
  }

  /** Takes one datagram from the peer's address. Never throws. */
  receive(datagram: Buffer): void {
    for (const record of parseRecords(datagram)) {
      if (this.#state === 'closed') return
      if (record.epoch === 0) this.#receivePlain(record)
      else if (record.epoch === 1) this.#receiveEncrypted(record)
    }
  }

  /** Encrypts and sends application data; dropped unless the connection stands. */
  send(plaintext: Uint8Array): void {
    if (this.#state !== 'connected') return
    this.#options.send(this.#composer.seal(RECORD_APPLICATION_DATA, plaintext))
  }

  /** Tells the peer (close_notify) and stops. Idempotent. */
  close(): void {
    if (this.#state === 'connected') this.#options.send(this.#composer.seal(RECORD_ALERT, CLOSE_NOTIFY))
    this.#stop()
  }

  #stop(): void {
    this.#state = 'closed'
    this.#flight.end()
    this.#early = []
  }

  #fail(error: unknown): void {
    if (this.#state !== 'handshake') return
    this.#stop()
    const text = error instanceof HandshakeFault ? error.message : 'The DTLS handshake failed'
    this.#options.onFailed(new MeshError(ErrorReason.DTLS_FAILED, text, { cause: error }))
  }

  #receivePlain(record: DtlsRecord): void {
    if (this.#state !== 'handshake' || record.type !== RECORD_HANDSHAKE) return
    const old = this.#reassembly.push(record.fragment, false)
    if (old > 0) this.#flight.repeat()
    void this.#handleMessages()
  }

  #receiveEncrypted(record: DtlsRecord): void {
    if (this.#opener === undefined) {
      // Overtook the message that brings the keys; or nonsense. A peer sends its Finished and little else this early.
      if (this.#state === 'handshake' && this.#early.length < MAX_EARLY_RECORDS) this.#early.push(record)
      return
    }
    const isNew = this.#replay.isNew(record.sequence)
    // A peer that did not get our last flight repeats its own, with the same records.
    const isRepeat = !isNew && record.type === RECORD_HANDSHAKE && this.#flight.mayRepeat
    if (!isNew && !isRepeat) return
    const plaintext = this.#opener.open(record)
    if (plaintext === undefined) return
    this.#replay.accept(record.sequence)
    if (record.type === RECORD_HANDSHAKE) this.#receiveEncryptedHandshake(plaintext)
    else if (record.type === RECORD_ALERT) this.#receiveAlert(plaintext)
    else if (record.type === RECORD_APPLICATION_DATA && this.#state === 'connected') this.#options.onData(plaintext)
  }

  #receiveEncryptedHandshake(plaintext: Buffer): void {
    if (this.#state === 'handshake') {
      this.#reassembly.push(plaintext, true)
      void this.#handleMessages()
    } else if (plaintext[0] === FINISHED && this.#options.role === 'server') this.#flight.repeat()
  }

  #receiveAlert(alert: Buffer): void {
    const [level, description] = alert
    if (alert.length !== 2 || (level !== 2 && description !== 0)) return
    if (this.#state === 'handshake')
      this.#fail(new HandshakeFault(`The peer ended the handshake, alert ${description}`))
    else {
      this.#stop()
      this.#options.onPeerClosed()
    }
  }

  /** One at a time, because werift answers asynchronously; fragments meanwhile wait in the reassembly. */
  async #handleMessages(): Promise<void> {
    if (this.#busy) return
    this.#busy = true
    try {
      for (let taken = this.#take(); taken !== undefined; taken = this.#take()) {
        await this.#handle(taken.message, taken.encrypted)
      }
    } catch (error) {
      this.#fail(error)
    } finally {
      this.#busy = false
    }
  }

  #take(): ReturnType<HandshakeReassembly['take']> {
    if (this.#state !== 'handshake') return undefined
    return this.#awaitsHello() ? this.#reassembly.takeAny() : this.#reassembly.take()
  }

  #awaitsHello(): boolean {
    return this.#options.role === 'server' && !this.#cookieReturned
  }

  async #handle(message: CompleteHandshake, encrypted: boolean): Promise<void> {
    if (this.#awaitsHello()) {
      await this.#handleHello(message, encrypted)
      return
    }
    this.#checks.check(message, encrypted)
    if (this.#options.role === 'client' && message.msg_type === FINISHED) {
      this.#connected()
      return
    }
    await this.#compose(() => this.socket.onHandleHandshakes([message]), message.msg_type !== FINISHED)
    this.#takeKeys()
    if (message.msg_type === FINISHED) this.#connected()
  }

  /**
   * The cookie exchange (RFC 6347 section 4.2.1). Nothing here is authenticated, so whatever is not right is dropped instead of
   * ending the handshake, and the number of answers is bounded.
   */
  async #handleHello(message: CompleteHandshake, encrypted: boolean): Promise<void> {
    let hello: ClientHello
    try {
      if (message.msg_type !== CLIENT_HELLO || encrypted) return
      hello = readClientHello(message.fragment)
    } catch {
      return
    }
    const returned = hello.cookie.length > 0
    if (!returned && this.#hellosAnswered < MAX_HELLOS) {
      this.#hellosAnswered += 1
      this.#firstHello = hello
      await this.#compose(() => this.socket.onHandleHandshakes([message]), false)
    } else if (returned && this.#cookieFits(hello)) {
      this.#cookieReturned = true
      this.#reassembly.skipTo(message.message_seq + 1)
      await this.#compose(() => this.socket.onHandleHandshakes([message]), true)
    }
  }

  #cookieFits(hello: ClientHello): boolean {
    const first = this.#firstHello
    return (
      first !== undefined &&
      this.socket.dtls.cookie?.equals(hello.cookie) === true &&
      hello.random.equals(first.random) &&
      hello.groups.includes(this.socket.cipher.namedCurve ?? 0)
    )
  }

  /** Lets werift act and sends the flight it composes, if it does. `repeat`: until the peer answers. */
  async #compose(act: () => Promise<void>, repeat: boolean): Promise<void> {
    const flight = await this.#composer.compose(act)
    if (flight.length > 0 && this.#state === 'handshake') this.#flight.begin(flight, repeat)
  }

  #connected(): void {
    this.#state = 'connected'
    this.socket.connected = true
    this.#flight.stopRepeating()
    this.#early = []
    this.#options.onConnected()
  }

  /** Once werift has derived the keys, records that came early can be read. */
  #takeKeys(): void {
    if (this.#opener !== undefined) return
    this.#opener = this.#composer.opener()
    if (this.#opener === undefined) return
    const early = this.#early
    this.#early = []
    for (const record of early) this.#receiveEncrypted(record)
  }
}

/** Level warning, description close_notify. */
const CLOSE_NOTIFY = Buffer.from([1, 0])
/** Answers to hellos without a cookie. Each costs a key pair. */
const MAX_HELLOS = 20
/** Finished and a few records of data that overtook it. */
const MAX_EARLY_RECORDS = 8
