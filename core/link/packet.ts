import type { Packet } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import { ErrorReason, MeshError } from '../error.ts'
import { ReplayWindow } from '../seal/replay-window.ts'
import { type Aead, type AeadFactory, webCryptoAead } from './aead.ts'

/**
 * Packets of a link: AES-128-GCM under the key of their direction, nonce = 4 zero bytes || u64be(number). A number is
 * never used twice with one key, whatever the path the packet takes.
 */

/** Seals packets of one direction. */
export interface PacketSealer {
  /**
   * Seals one packet under the next number. Numbers follow the order of the calls, and so do the results. A packet, not a
   * promise of one, when the Aead works in place; the plaintext may be written over then.
   * @throws MeshError LIMIT_EXCEEDED (`max_packets_per_key`) when the key is used up: the link must rekey
   */
  seal(plaintext: Uint8Array): Packet | Promise<Packet>
  /** The number that the next packet gets; the first is 1. */
  readonly sent: bigint
}

/** Opens packets of one direction. */
export interface PacketOpener {
  /**
   * The packet's plaintext, or a promise of it, as the Aead has it. A packet that was refused changes nothing: its number is
   * taken only after it has opened.
   * @throws MeshError (or rejects with it) LINK_REPLAY when the number was seen or is more than 4,096 below the highest,
   * LINK_OPEN when the packet is not of this link and direction
   */
  open(packet: Packet): Uint8Array | Promise<Uint8Array>
}

/** Numbers a receiver tells apart below the highest one it has opened. */
export const PACKET_REPLAY_WINDOW = 4_096

/** 2^32: far below what AES-GCM bears, and a bound on what one stolen key opens. Links rekey before. */
export const MAX_PACKETS_PER_KEY = 2n ** 32n

const TAG_BYTES = 16

/** A sealer for a 16 byte key. The key must be of this direction alone and start from number 1. */
export async function createPacketSealer(rawKey: Uint8Array, aead: AeadFactory = webCryptoAead): Promise<PacketSealer> {
  return new AesPacketSealer(await aead(rawKey))
}

/** An opener for a 16 byte key. */
export async function createPacketOpener(rawKey: Uint8Array, aead: AeadFactory = webCryptoAead): Promise<PacketOpener> {
  return new AesPacketOpener(await aead(rawKey))
}

class AesPacketSealer implements PacketSealer {
  readonly #aead: Aead
  #next = 1n
  /** Settles when every packet before has been handed out. An Aead may work in threads and finish out of order. */
  #before: Promise<void> = Promise.resolve()

  constructor(aead: Aead) {
    this.#aead = aead
  }

  get sent(): bigint {
    return this.#next
  }

  seal(plaintext: Uint8Array): Packet | Promise<Packet> {
    const number = this.#next
    if (number > MAX_PACKETS_PER_KEY) {
      throw new MeshError(ErrorReason.LIMIT_EXCEEDED, 'The link key is used up', {
        limit: 'max_packets_per_key',
        limitValue: MAX_PACKETS_PER_KEY,
      })
    }
    this.#next = number + 1n
    const encrypted = this.#aead.seal(nonce(number), plaintext)
    return encrypted instanceof Promise ? this.#inOrder(number, encrypted) : packetOf(number, encrypted)
  }

  async #inOrder(number: bigint, encrypted: Promise<Uint8Array>): Promise<Packet> {
    const before = this.#before
    // Fulfilled even if encryption fails, for the failure belongs to this call alone; and with nothing, so that no
    // packet is kept alive by the chain.
    this.#before = before.then(() => encrypted).then(forget, forget)
    await before
    return packetOf(number, await encrypted)
  }
}

class AesPacketOpener implements PacketOpener {
  readonly #aead: Aead
  readonly #window = new ReplayWindow(PACKET_REPLAY_WINDOW)

  constructor(aead: Aead) {
    this.#aead = aead
  }

  open({ number, sealed }: Packet): Uint8Array | Promise<Uint8Array> {
    if (number === 0n || number > MAX_PACKETS_PER_KEY || sealed.length < TAG_BYTES) throw notOfThisLink(number)
    if (!this.#window.check(number)) throw replayed(number)
    let plaintext: Uint8Array | Promise<Uint8Array>
    try {
      plaintext = this.#aead.open(nonce(number), sealed)
    } catch (cause) {
      throw notOfThisLink(number, cause)
    }
    if (!(plaintext instanceof Promise)) return this.#opened(number, plaintext)
    return plaintext.then(
      (bytes) => this.#opened(number, bytes),
      (cause: unknown) => {
        throw notOfThisLink(number, cause)
      },
    )
  }

  #opened(number: bigint, plaintext: Uint8Array): Uint8Array {
    // Again: another copy of the packet may have opened meanwhile.
    if (!this.#window.accept(number)) throw replayed(number)
    return plaintext
  }
}

function packetOf(number: bigint, sealed: Uint8Array): Packet {
  return { $typeName: 'mesh.peer.v1.Packet', number, sealed }
}

function forget(): void {}

function nonce(number: bigint): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(12)
  new DataView(bytes.buffer).setBigUint64(4, number)
  return bytes
}

function replayed(number: bigint): MeshError {
  return new MeshError(ErrorReason.LINK_REPLAY, `Packet ${number} was seen or is too old`, { value: number })
}

function notOfThisLink(number: bigint, cause?: unknown): MeshError {
  return new MeshError(ErrorReason.LINK_OPEN, `Packet ${number} does not open`, { value: number, cause })
}
