import {
  type Channel,
  type Diagnosis,
  ErrorReason,
  type MeshClient,
  MeshError,
  type Message,
  type Peer,
  type Swarm,
} from '@mesh/client'
import { FILE_CHANNEL_NAME } from '../file-transfer/file-channel.ts'
import { receiveOffer } from '../file-transfer/receive-file.ts'
import { formatBytes } from '../peer/format.ts'
import { tellNeighbours } from '../peer/neighbours.ts'
import { displayName, encodeProfile } from '../peer/profile.ts'
import { explain } from './explain.ts'
import { NeighbourWatch } from './neighbour-watch.ts'
import type { PartyLink } from './party-link.ts'
import { tellPaths } from './path-notices.ts'
import { type Author, type MessageEntry, Timeline } from './timeline.ts'
import { IncomingTransfer, OutgoingTransfer } from './transfer.ts'

export interface RoomOptions {
  readonly client: MeshClient
  readonly link: PartyLink
  /** What this peer calls itself; empty: its nickname. */
  readonly name: string
  /** Something changed; called often, to be gathered by whoever draws. */
  readonly changed: () => void
}

/** How this page stands to the party. */
export type RoomStatus =
  | { readonly kind: 'joining'; readonly why?: string }
  | { readonly kind: 'joined' }
  | { readonly kind: 'reconnecting'; readonly why: string }
  | { readonly kind: 'failed'; readonly why: string }

/** Files of one peer that wait for an answer or are on their way; more are refused as busy. */
const MAX_INCOMING = 8
/** A blob of this size still works in every browser. */
const MAX_FILE_BYTES = 1024 * 1024 * 1024
/** Longer texts are cut where they are shown. */
const MAX_SHOWN_CHARACTERS = 4_000

/** One party as this page takes part in it: who is there, what was said, which files move. */
export class Room {
  readonly link: PartyLink
  readonly timeline = new Timeline((entry) => {
    if (entry.kind === 'transfer') entry.transfer.release()
  })
  readonly #options: RoomOptions
  readonly #leave = new AbortController()
  readonly #neighbours: NeighbourWatch
  readonly #activity = new Map<string, number>()
  #swarm: Swarm | undefined
  #name: string
  #failure: string | undefined

  constructor(options: RoomOptions) {
    this.#options = options
    this.link = options.link
    this.#name = options.name
    this.#neighbours = new NeighbourWatch(options.changed)
  }

  get peers(): readonly Peer[] {
    return [...(this.#swarm?.peers.values() ?? [])]
  }

  /** Members the directory lists that are not connected yet. */
  get missingCount(): number {
    const swarm = this.#swarm
    return swarm ? Math.max(0, swarm.memberCount - swarm.peers.size) : 0
  }

  /** How many messages went to a peer or came from it: a higher number than before is something to show. */
  activityOf(id: string): number {
    return this.#activity.get(id) ?? 0
  }

  get neighbours(): NeighbourWatch {
    return this.#neighbours
  }

  get status(): RoomStatus {
    if (this.#failure !== undefined) return { kind: 'failed', why: this.#failure }
    const { signalState } = this.#options.client
    const why = signalState.kind === 'waiting' ? explain(signalState.error) : undefined
    if (!this.#swarm) return why === undefined ? { kind: 'joining' } : { kind: 'joining', why }
    return this.#swarm.status === 'joined' ? { kind: 'joined' } : { kind: 'reconnecting', why: why ?? '' }
  }

  /** Joins. Never rejects: the status tells. */
  async enter(): Promise<void> {
    const { client, link, changed } = this.#options
    const ticker = setInterval(changed, 1_000)
    this.#leave.signal.addEventListener('abort', () => clearInterval(ticker))
    try {
      const swarm = await client.join(link.party, {
        state: encodeProfile({ name: this.#name }),
        signal: this.#leave.signal,
      })
      this.#swarm = swarm
      this.#listen(swarm)
    } catch (error) {
      if (!this.#leave.signal.aborted) this.#failure = explain(error)
    }
    changed()
  }

  /** Leaves and lets go of everything that was received. */
  async close(): Promise<void> {
    this.#leave.abort()
    this.#neighbours.close()
    await this.#swarm?.close()
    this.timeline.clear()
  }

  /** Tells the others a new name. */
  rename(name: string): void {
    this.#name = name
    if (this.#swarm && this.#swarm.status !== 'closed') this.#swarm.setState(encodeProfile({ name }))
  }

  /** Says something to everybody. Never rejects: the entry tells how it went. */
  async say(text: string, author: Author): Promise<void> {
    const entry: MessageEntry = this.#add({ kind: 'message', author, text, delivery: { kind: 'sending' } })
    try {
      if (!this.#swarm) throw new MeshError(ErrorReason.UNREACHABLE, 'not in the party yet')
      const { delivered, failed } = await this.#swarm.send(text)
      for (const { id } of delivered) this.#countActivity(id)
      entry.delivery = {
        kind: 'sent',
        delivered: delivered.map(displayName),
        failed: failed.map(({ peer, error }) => ({ name: displayName(peer), why: explain(error) })),
      }
    } catch (error) {
      entry.delivery = { kind: 'failed', why: explain(error) }
    }
    this.#options.changed()
  }

  /** Puts a notice into the timeline, for this page only. */
  tell(text: string): void {
    this.#add({ kind: 'notice', text })
  }

  /** Offers files to a peer. */
  sendFiles(peer: Peer, files: Iterable<File>): void {
    for (const file of files) {
      const transfer = new OutgoingTransfer(authorOf(peer), file, this.#options.changed)
      this.#add({ kind: 'transfer', transfer })
      void transfer.run(peer, file)
    }
  }

  diagnose(id: string): Promise<Diagnosis | undefined> {
    return this.#swarm?.peers.get(id)?.diagnose() ?? Promise.resolve(undefined)
  }

  #listen(swarm: Swarm): void {
    const { changed } = this.#options
    tellNeighbours(swarm)
    tellPaths(swarm, (text) => this.tell(text))
    swarm.on('join', (peer) => {
      this.tell(`Connected to ${displayName(peer)}`)
      this.#neighbours.update(swarm)
    })
    swarm.on('leave', (peer) => {
      this.#activity.delete(peer.id)
      this.tell(`${displayName(peer)} left`)
      this.#neighbours.update(swarm)
    })
    swarm.on('path', () => {
      this.#neighbours.update(swarm)
      changed()
    })
    swarm.on('update', changed)
    swarm.on('presence', changed)
    swarm.on('status', (status) => {
      if (status === 'closed' && !this.#leave.signal.aborted) this.#failure ??= 'The party was left.'
      changed()
    })
    swarm.on('error', (error) => {
      if (!error.retryable) this.#failure = swarm.status === 'closed' ? explain(error) : this.#failure
      changed()
    })
    swarm.on('message', (message) => this.#onMessage(message))
    swarm.on('channel', (channel) => void this.#onChannel(channel))
    for (const peer of swarm.peers.values()) this.tell(`Connected to ${displayName(peer)}`)
    this.#neighbours.update(swarm)
  }

  #countActivity(id: string): void {
    this.#activity.set(id, this.activityOf(id) + 1)
  }

  #onMessage(message: Message): void {
    this.#countActivity(message.from.id)
    this.#add({ kind: 'message', author: authorOf(message.from), text: shownText(message) })
  }

  async #onChannel(channel: Channel): Promise<void> {
    if (channel.name !== FILE_CHANNEL_NAME) return channel.abort()
    try {
      const offer = await receiveOffer(channel)
      if (offer.sizeBytes > MAX_FILE_BYTES) return await offer.refuse('too-large')
      if (this.#incomingOf(channel.peer.id) >= MAX_INCOMING) return await offer.refuse('busy')
      const transfer = new IncomingTransfer(authorOf(channel.peer), offer, this.#options.changed)
      this.#add({ kind: 'transfer', transfer })
    } catch {
      // The sender broke the protocol or is gone; it was told, and there is nothing to show yet.
    }
  }

  #incomingOf(id: string): number {
    return this.timeline.entries.filter(
      (entry) =>
        entry.kind === 'transfer' &&
        entry.transfer.direction === 'in' &&
        entry.transfer.partner.id === id &&
        (entry.transfer.state.kind === 'asking' || entry.transfer.state.kind === 'moving'),
    ).length
  }

  #add<Added extends Parameters<Timeline['add']>[0]>(entry: Added) {
    const added = this.timeline.add(entry, new Date())
    this.#options.changed()
    return added
  }
}

export function authorOf(peer: Peer): Author {
  return { id: peer.id, name: displayName(peer), key: peer.key, self: false }
}

function shownText(message: Message): string {
  try {
    const text = message.text()
    if (text.length <= MAX_SHOWN_CHARACTERS) return text
    return `${text.slice(0, MAX_SHOWN_CHARACTERS)}… (${formatBytes(message.bytes.length)}, cut here)`
  } catch {
    return `(${formatBytes(message.bytes.length)} that are no text)`
  }
}
