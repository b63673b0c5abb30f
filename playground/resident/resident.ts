import { type Channel, MeshError, type Message, type Peer, type Swarm } from '@mesh/client'
import { FILE_CHANNEL_NAME } from '../file-transfer/file-channel.ts'
import { receiveOffer } from '../file-transfer/receive-file.ts'
import { formatBytes, shortChecksum } from '../peer/format.ts'
import { tellNeighbours } from '../peer/neighbours.ts'
import { decodeProfile, displayName } from '../peer/profile.ts'
import type { ResidentEvent } from './resident-event.ts'

/** Largest file the resident reads to its end, to check it. It keeps nothing. */
const MAX_FILE_BYTES = 1024 * 1024 * 1024
/** Answers to one peer under way at once; what comes beyond is not answered. */
const MAX_ANSWERS = 16
const MAX_ECHO_CHARACTERS = 2_000

/**
 * A peer that is always there: greets who joins, says back what it is told, and checks files it is sent. It answers only the
 * peer that spoke, and never another program (`bot` in the profile), so two residents do not talk to each other for ever.
 */
export class Resident {
  readonly #swarm: Swarm
  readonly #report: (event: ResidentEvent) => void
  readonly #answers = new Map<string, number>()
  readonly #paths = new Map<string, string>()

  constructor(swarm: Swarm, report: (event: ResidentEvent) => void) {
    this.#swarm = swarm
    this.#report = report
  }

  /** Starts to listen, greets whoever is there already, and answers until the swarm closes. */
  start(): void {
    const swarm = this.#swarm
    swarm.on('join', (peer) => this.#onJoin(peer))
    swarm.on('leave', (peer) => this.#onLeave(peer))
    swarm.on('restart', (peer) => {
      this.#tell(peer, { kind: 'restart' })
      this.#greet(peer)
    })
    swarm.on('path', (peer) => this.#onPath(peer))
    swarm.on('presence', (peer) => this.#tell(peer, { kind: peer.presence }))
    swarm.on('message', (message) => this.#onMessage(message))
    swarm.on('channel', (channel) => void this.#onChannel(channel))
    tellNeighbours(swarm)
    for (const peer of swarm.peers.values()) this.#onJoin(peer)
  }

  #onJoin(peer: Peer): void {
    this.#tell(peer, { kind: 'join' })
    this.#greet(peer)
    this.#onPath(peer)
  }

  #onLeave(peer: Peer): void {
    this.#answers.delete(peer.id)
    this.#paths.delete(peer.id)
    this.#tell(peer, { kind: 'leave' })
  }

  #onPath(peer: Peer): void {
    if (this.#paths.get(peer.id) === peer.path || !this.#swarm.peers.has(peer.id)) return
    // Closing takes every path down; that is no news.
    if (this.#swarm.status === 'closed') return
    this.#paths.set(peer.id, peer.path)
    this.#tell(peer, { kind: 'path', path: peer.path, rttMs: peer.rttMs })
  }

  #greet(peer: Peer): void {
    const name = displayName(peer)
    this.#answer(peer, `Welcome, ${name}. I live here: I say back what you write, and check files you drop on me.`)
  }

  #onMessage({ from, bytes, text }: Message): void {
    let said: string
    try {
      said = text()
    } catch {
      said = '' // not UTF-8
    }
    this.#tell(from, { kind: 'message', text: said || `${bytes.length} bytes that are no text` })
    if (said === '') return this.#answer(from, `You sent ${bytes.length} bytes that are no text.`)
    const cut = said.length > MAX_ECHO_CHARACTERS ? `${said.slice(0, MAX_ECHO_CHARACTERS)}…` : said
    this.#answer(from, `You said: ${cut}`)
  }

  async #onChannel(channel: Channel): Promise<void> {
    if (channel.name !== FILE_CHANNEL_NAME) return channel.abort()
    const { peer } = channel
    try {
      const offer = await receiveOffer(channel)
      if (offer.sizeBytes > MAX_FILE_BYTES) {
        await offer.refuse('too-large')
        this.#tell(peer, { kind: 'file', file: offer, result: { kind: 'not-stored', why: 'it is too large' } })
        return
      }
      const result = await offer.accept({ write: () => {}, finish: () => {} })
      this.#tell(peer, { kind: 'file', file: offer, result })
      const size = formatBytes(offer.sizeBytes)
      if (result.kind === 'stored') {
        this.#answer(peer, `I got ${offer.name} (${size}). Its SHA-256 ${shortChecksum(result.checksum)} is right.`)
      } else {
        this.#answer(peer, `${offer.name} (${size}) arrived, but its ${result.why} is wrong.`)
      }
    } catch (cause) {
      const why = MeshError.from(cause).message
      const file = { name: 'a file', sizeBytes: 0 }
      this.#tell(peer, { kind: 'file', file, result: { kind: 'not-stored', why } })
    }
  }

  #answer(peer: Peer, text: string): void {
    if (decodeProfile(peer.state).bot) return
    const pending = this.#answers.get(peer.id) ?? 0
    if (pending >= MAX_ANSWERS) return
    this.#answers.set(peer.id, pending + 1)
    // A peer that leaves before the answer reaches it needs none.
    const done = () => this.#answers.set(peer.id, (this.#answers.get(peer.id) ?? 1) - 1)
    void peer.send(text).then(done, done)
  }

  #tell(peer: Peer, event: EventBody): void {
    this.#report({ ...event, id: peer.id, name: displayName(peer) })
  }
}

type WithoutPeer<Event> = Event extends unknown ? Omit<Event, 'id' | 'name'> : never
type EventBody = WithoutPeer<ResidentEvent>
