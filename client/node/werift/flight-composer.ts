import { RecordOpener, RecordSealer } from './dtls-record.ts'
import type {
  DtlsSocket,
  PlaintextRecord,
  WeriftCertificate,
  WeriftModule,
  WeriftTransport,
} from './werift-internals.ts'

/**
 * Lets werift compose the flights of a DTLS handshake without sending them.
 *
 * werift sends what it composes itself, and then sleeps and repeats it in a loop that nobody can end, which holds Node for
 * seconds after a connection is gone. So its transport is a trap: the first record it tries to send throws FLIGHT_COMPOSED, which
 * leaves that loop before it begins. By then the whole flight is in werift's state, and is taken from there.
 *
 * werift also starts its sequence numbers over after Finished, and would encrypt two records under one nonce. Here its
 * encryption is replaced by a `RecordSealer`, which numbers Finished and application data in one row.
 */
export class FlightComposer {
  readonly socket: DtlsSocket
  readonly #role: 'client' | 'server'
  #trapped: Buffer[] = []
  #sealer: RecordSealer | undefined

  constructor(werift: WeriftModule, role: 'client' | 'server', certificate: WeriftCertificate) {
    this.#role = role
    const options = {
      cert: certificate.certPem,
      key: certificate.privateKey,
      signatureHash: certificate.signatureHash,
      transport: this.#trap(),
      srtpProfiles: [],
      extendedMasterSecret: true,
      certificateRequest: true,
    }
    this.socket = role === 'client' ? new werift.DtlsClient(options) : new werift.DtlsServer(options)
    this.socket.cipher.encryptPacket = (record) => this.#encrypt(record)
  }

  /** Lets werift act. Resolves with the records of the flight it composed, none if it did not. Rejects when werift fails. */
  async compose(act: () => Promise<void>): Promise<readonly Buffer[]> {
    this.#trapped = []
    try {
      await act()
    } catch (error) {
      if (error !== FLIGHT_COMPOSED) throw error
    }
    if (this.#trapped.length === 0) return []
    const { flight, lastMessage } = this.socket.dtls
    return flight >= FIRST_FLIGHT_KEPT ? lastMessage : this.#trapped
  }

  /** A record of epoch 1, whole. To be called once the keys are there. */
  seal(type: number, plaintext: Uint8Array): Buffer {
    if (this.#sealer === undefined) {
      const keys = this.socket.cipher.cipher!
      this.#sealer =
        this.#role === 'client'
          ? new RecordSealer(keys.clientWriteKey, keys.clientNonce)
          : new RecordSealer(keys.serverWriteKey, keys.serverNonce)
    }
    return this.#sealer.seal(type, plaintext)
  }

  /** What opens the peer's records; undefined until the keys are there. */
  opener(): RecordOpener | undefined {
    const keys = this.socket.cipher.cipher
    if (keys === undefined) return undefined
    return this.#role === 'client'
      ? new RecordOpener(keys.serverWriteKey, keys.serverNonce)
      : new RecordOpener(keys.clientWriteKey, keys.clientNonce)
  }

  #encrypt(record: PlaintextRecord): PlaintextRecord {
    const sealed = this.seal(record.recordLayerHeader.contentType, record.fragment)
    record.recordLayerHeader.sequenceNumber = sealed.readUIntBE(5, 6)
    record.recordLayerHeader.contentLen = sealed.length - RECORD_HEADER_BYTES
    record.fragment = sealed.subarray(RECORD_HEADER_BYTES)
    return record
  }

  #trap(): WeriftTransport {
    return {
      type: 'guarded',
      closed: false,
      address: {},
      onData: () => {},
      send: (record) => {
        this.#trapped.push(record)
        throw FLIGHT_COMPOSED
      },
      close: () => Promise.resolve(),
    }
  }
}

/** Thrown by the trap. Compared by identity. */
const FLIGHT_COMPOSED = new Error('A flight is ready')

/** werift keeps flights 4, 5 and 6 whole; the earlier ones are one record, which the trap has caught. */
const FIRST_FLIGHT_KEPT = 4

const RECORD_HEADER_BYTES = 13
