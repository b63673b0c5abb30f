import type { Channel, Peer, Swarm } from '@mesh/client'

/** How much is sent, and how fast. */
export interface TransferPlan {
  /** Of 16 KiB each. */
  readonly chunks: number
  /** Between two chunks; what could not leave in time follows as fast as it can. */
  readonly intervalMs: number
}

/** A time in which nothing arrived. */
export interface Standstill {
  /** Unix time at which it began. */
  readonly atMs: number
  readonly forMs: number
}

/** One direction of a transfer, at either end. */
export interface TransferReport {
  readonly chunks: number
  /** SHA-256 over all chunks: each chunk with the checksum before it. */
  readonly checksum: string
  /** Numbered messages beside the stream. */
  readonly messages: number
  /** The first chunk or message that was not, byte for byte, the one that was due: something was lost, doubled or out of order. */
  readonly wrong: string | undefined
  /** Of 250 ms and more, in order. */
  readonly standstills: readonly Standstill[]
  /** All is there and acknowledged, or the error that ended it. */
  readonly end: 'done' | string | undefined
}

const CHUNK_BYTES = 16_384
const NAME = 'transfer'
const CHUNKS_PER_MESSAGE = 4
/** Shorter ones are not noted: a machine that runs tests has many. */
export const STANDSTILL_MS = 250

/** Sends and receives one transfer in a swarm; what arrives is compared with what must have been sent. */
export class Transfers {
  readonly #swarm: Swarm
  readonly #sent = new Side()
  readonly #received = new Side()

  constructor(swarm: Swarm) {
    this.#swarm = swarm
    swarm.on('channel', (channel) => {
      if (channel.name === NAME) this.#received.follow(receive(channel, this.#received))
    })
    swarm.on('message', (message) => {
      const [name, number] = message.text().split(' ')
      if (name === NAME) this.#received.message(Number(number))
    })
  }

  /** Returns at once; `report` says how far it is. */
  start(to: string, plan: TransferPlan): void {
    this.#sent.follow(this.#send(to, plan))
  }

  report(): { sent: TransferReport; received: TransferReport } {
    return { sent: this.#sent.report(), received: this.#received.report() }
  }

  async #send(to: string, { chunks, intervalMs }: TransferPlan): Promise<void> {
    const peer = this.#swarm.peers.get(to)
    if (!peer) throw new Error(`${to} is not in the swarm`)
    const channel = await peer.open(NAME)
    void discard(channel)
    const writer = channel.writable.getWriter()
    const startedMs = performance.now()
    const sends: Promise<void>[] = []
    for (let i = 0; i < chunks; i++) {
      const waitMs = startedMs + i * intervalMs - performance.now()
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
      const chunk = chunkOf(i)
      await this.#sent.take(chunk)
      await writer.write(chunk)
      if (i % CHUNKS_PER_MESSAGE === 0) sends.push(this.#say(peer, i / CHUNKS_PER_MESSAGE))
    }
    await channel.close()
    await Promise.all(sends)
  }

  #say(peer: Peer, number: number): Promise<void> {
    this.#sent.message(number)
    const sent = peer.send(`${NAME} ${number}`)
    // It is looked at in the end.
    sent.catch(() => undefined)
    return sent
  }
}

/** What one end has of one direction. */
class Side {
  #chunks = 0
  #checksum = new Uint8Array(0)
  #messages = 0
  #wrong: string | undefined
  #end: string | undefined
  #aliveAtMs: number | undefined
  readonly #standstills: Standstill[] = []

  follow(work: Promise<void>): void {
    work.then(
      () => {
        this.#end = 'done'
      },
      (error: Error) => {
        this.#end = String(error)
      },
    )
  }

  /** Something came. */
  alive(): void {
    const nowMs = Date.now()
    const forMs = nowMs - (this.#aliveAtMs ?? nowMs)
    if (forMs >= STANDSTILL_MS) this.#standstills.push({ atMs: nowMs - forMs, forMs })
    this.#aliveAtMs = nowMs
  }

  async take(chunk: Uint8Array): Promise<void> {
    const due = chunkOf(this.#chunks)
    if (due.some((byte, i) => byte !== chunk[i])) this.#wrong ??= `chunk ${this.#chunks}`
    this.#chunks++
    const joined = new Uint8Array(this.#checksum.length + chunk.length)
    joined.set(this.#checksum)
    joined.set(chunk, this.#checksum.length)
    this.#checksum = new Uint8Array(await crypto.subtle.digest('SHA-256', joined))
  }

  message(number: number): void {
    if (number !== this.#messages) this.#wrong ??= `message ${number} instead of ${this.#messages}`
    this.#messages++
  }

  report(): TransferReport {
    const checksum = Array.from(this.#checksum, (byte) => byte.toString(16).padStart(2, '0')).join('')
    const standstills = [...this.#standstills]
    return { chunks: this.#chunks, messages: this.#messages, checksum, wrong: this.#wrong, standstills, end: this.#end }
  }
}

async function receive(channel: Channel, side: Side): Promise<void> {
  const chunk = new Uint8Array(CHUNK_BYTES)
  let filled = 0
  for await (const piece of pieces(channel)) {
    side.alive()
    for (let taken = 0; taken < piece.length; ) {
      const part = piece.subarray(taken, taken + CHUNK_BYTES - filled)
      chunk.set(part, filled)
      filled += part.length
      taken += part.length
      if (filled < CHUNK_BYTES) continue
      await side.take(chunk)
      filled = 0
    }
  }
  await channel.close()
}

async function discard(channel: Channel): Promise<void> {
  try {
    for await (const _ of pieces(channel));
  } catch {
    // The writer fails with the same error, and is looked at.
  }
}

async function* pieces(channel: Channel): AsyncGenerator<Uint8Array> {
  const reader = channel.readable.getReader()
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value
}

/** The same at both ends: its number, and noise that depends on it (xorshift32). */
function chunkOf(number: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(CHUNK_BYTES / 4)
  let noise = number + 1
  for (let i = 1; i < words.length; i++) {
    noise ^= noise << 13
    noise ^= noise >>> 17
    noise ^= noise << 5
    words[i] = noise
  }
  words[0] = number
  return new Uint8Array(words.buffer)
}
