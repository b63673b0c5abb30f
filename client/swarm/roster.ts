import { type Clock, ErrorReason, equalBytes, formatPeerId, MeshError, toHex, type VerifiedRecord } from '@mesh/core'
import { DepartureReason } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { Connections } from '../connection/connections.ts'
import type { PeerConnection } from '../connection/peer-connection.ts'
import type { TopicHandle } from '../connection/topic-handle.ts'
import type { MemberChange } from './membership-view.ts'
import type { MergedView } from './merged-view.ts'
import { Peer } from './peer.ts'
import type { Topology } from './topology/topology.ts'

/**
 * Who is who in one swarm, from three sources that come and go independently: the directory (is the peer listed?), the
 * topology (does this peer want a link?) and the links (is the peer attached?).
 *
 *   known:  wanted by the topology, or attached because the other side wanted it
 *   joined: could be sent to at least once since it is known; this is what applications see
 *   away:   there is no way to it for the moment; its link waits for it (Presence)
 *   gone:   said goodbye; or neither listed nor attached, where a peer that only lost one of the two stays; or away too long
 */
export interface RosterOptions {
  readonly ownKey: Uint8Array
  readonly topic: Uint8Array
  readonly clock: Clock
  readonly connections: Connections
  readonly topology: Topology
  readonly view: MergedView
  readonly handle: () => TopicHandle
  /** How long a peer that fell silent without a word stays: see SwarmOptions.awayMs. */
  readonly awayMs: number
  readonly emit: (name: 'join' | 'leave' | 'update' | 'path' | 'presence' | 'restart', peer: Peer) => void
}

/** After a server restart members come back one by one; those that have not within this time are gone. */
const MISSING_GRACE_MS = 5_000
/** Departures of peers that did not say a word: they may sleep. */
const SILENT: ReadonlySet<DepartureReason> = new Set([DepartureReason.EXPIRED, DepartureReason.SERVER_LOST])
/** Of the links a topology allows; the rest is for newcomers, who must find room somewhere. */
const KEPT_SHARE = 0.75

export class Roster {
  readonly #options: RosterOptions
  readonly #known = new Map<string, Peer>()
  readonly #joined = new Map<string, Peer>()
  /** Names of the members this peer's topology asks for, as of the last look. */
  #selected: ReadonlySet<string> = new Set()
  /** Members a restarted server does not list yet, and until when that is no reason to give them up. */
  readonly #missing = new Map<string, number>()

  constructor(options: RosterOptions) {
    this.#options = options
  }

  /** By peer id. */
  get known(): ReadonlyMap<string, Peer> {
    return this.#known
  }

  /** By peer id. */
  get joined(): ReadonlyMap<string, Peer> {
    return this.#joined
  }

  /** Whether a link the other side asks for fits. Peers that are away make room. */
  hasRoomFor({ record }: VerifiedRecord): boolean {
    if (this.#known.has(formatPeerId(record.peerKey))) return true
    return this.#known.size - this.#longestAway().length < this.#options.topology.maxLinks
  }

  /** Takes changes of the membership in, then looks at the topology again. */
  apply(changes: readonly MemberChange[]): void {
    for (const change of changes) this.#applyChange(change)
    this.#reconcile()
  }

  /** Gives up members that did not come back after a server restart. */
  #settleMissing(): void {
    const { clock, connections, handle } = this.#options
    for (const [name, untilMs] of [...this.#missing]) {
      if (untilMs > clock.monotonicMs()) continue
      this.#missing.delete(name)
      const peer = [...this.#known.values()].find(({ key }) => toHex(key) === name)
      if (!peer) continue
      connections.get(peer.key)?.unlisted(handle(), 'silent')
      this.#settleDeparture(peer.key)
    }
  }

  /** To be called every few seconds: who did not come back, who went away, for too long, and whether room runs short. */
  watch(): void {
    const { awayMs } = this.#options
    this.#settleMissing()
    for (const peer of [...this.#known.values()]) {
      this.#look(peer)
      if (peer.presence === 'away' && peer.unreachableForMs >= awayMs && (peer.attached || this.#joined.has(peer.id)))
        this.#drop(peer, new MeshError(ErrorReason.PEER_LEFT, `${peer.id} was away for ${awayMs} ms`))
    }
    this.#prune()
  }

  /** This side slept: the others have their time again. */
  startOver(): void {
    for (const peer of this.#known.values()) peer.startOver()
  }

  /** Gives links up that neither side's topology asks for, as far as room runs short. */
  #prune(): void {
    const { ownKey, topology, view } = this.#options
    let excess = this.#known.size - Math.floor(topology.maxLinks * KEPT_SHARE)
    if (excess <= 0) return
    const keys = [...view.members.values()].map(({ record }) => record.peerKey)
    for (const peer of [...this.#known.values()]) {
      const name = toHex(peer.key)
      if (excess <= 0 || !view.members.has(name) || this.#selected.has(name)) continue
      const others = [ownKey, ...keys.filter((key) => !equalBytes(key, peer.key))]
      if (topology.select(peer.key, others).some((key) => equalBytes(key, ownKey))) continue
      this.#drop(peer, new MeshError(ErrorReason.LINK_REFUSED, 'the topology has other links for this room'))
      excess--
    }
  }

  onAttached(connection: PeerConnection, record: VerifiedRecord, directOnly: boolean): void {
    const before = this.#known.get(connection.id)?.state
    const peer = this.#remember(connection, record)
    peer.update({ attached: true, directOnly })
    this.onChanged(connection)
    if (before && this.#joined.has(peer.id) && !equalBytes(before, peer.state)) this.#options.emit('update', peer)
  }

  /** The own record has another state: those with a direct path hear it by that too, whatever the servers do. */
  tellState(): void {
    const { connections, handle } = this.#options
    for (const { key } of this.#known.values()) {
      const linked = connections.get(key)?.linked
      if (linked?.path === 'direct') linked.attachments.refresh(handle())
    }
  }

  onDetached(connection: PeerConnection, error: MeshError): void {
    const peer = this.#known.get(connection.id)
    if (!peer) return
    peer.update({ attached: false })
    if (error.reason === ErrorReason.PEER_LEFT) {
      this.#missing.delete(toHex(connection.key))
      // Said on the link by the peer itself; a newer record of it brings it back.
      this.#options.view.forget(connection.key)
      connection.unwant(this.#options.handle())
    }
    this.onChanged(connection)
    // The other side pruned the link, and this one does not ask for it either.
    if (error.reason === ErrorReason.LINK_REFUSED && !this.#selected.has(toHex(connection.key)))
      return this.#drop(peer, error)
    this.#settleDeparture(connection.key)
  }

  onChanged(connection: PeerConnection): void {
    const { emit } = this.#options
    const peer = this.#known.get(connection.id)
    if (!peer) return
    if (peer.usable && !this.#joined.has(peer.id)) {
      this.#joined.set(peer.id, peer)
      emit('join', peer)
    }
    if (peer.pathChanged() && this.#joined.has(peer.id)) emit('path', peer)
    this.#look(peer)
  }

  onRestarted(connection: PeerConnection): void {
    const peer = this.#joined.get(connection.id)
    if (!peer) return
    peer.restarted()
    this.#options.emit('restart', peer)
  }

  /** The swarm was closed: whatever waits for a peer fails. */
  close(error: MeshError): void {
    for (const peer of this.#known.values()) peer.leave(error)
  }

  #applyChange(change: MemberChange): void {
    const { clock, connections, view, handle, emit } = this.#options
    const { record } = change
    const key = record.record.peerKey
    if (change.kind === 'missing') {
      this.#missing.set(toHex(key), clock.monotonicMs() + MISSING_GRACE_MS)
      return
    }
    this.#missing.delete(toHex(key))
    const peer = this.#known.get(formatPeerId(key))
    if (change.kind === 'left') {
      if (!change.leave && change.reason === DepartureReason.EXPIRED) peer?.update({ expired: true })
      connections.get(key)?.unlisted(handle(), change.leave ? 'left' : SILENT.has(change.reason) ? 'silent' : 'gone')
      return this.#settleDeparture(key)
    }
    if (!peer) return
    const news = peer.update({ record })
    connections.want(handle(), view.members.get(toHex(key)) ?? record)
    if (news && this.#joined.has(peer.id)) emit('update', peer)
  }

  /** Wants a link to every member the topology selects. */
  #reconcile(): void {
    const { ownKey, connections, topology, view, handle } = this.#options
    const members = [...view.members.values()]
    const keys = members.map(({ record }) => record.peerKey)
    const selected = new Set(topology.select(ownKey, keys).map(toHex))
    this.#selected = selected
    for (const record of members) {
      const { peerKey } = record.record
      if (!selected.has(toHex(peerKey)) || !this.hasRoomFor(record)) continue
      const connection = connections.want(handle(), record)
      if (connection) this.#remember(connection, record)
    }
  }

  #remember(connection: PeerConnection, record: VerifiedRecord): Peer {
    const { topic, clock, connections } = this.#options
    const known = this.#known.get(connection.id)
    const peer = known ?? new Peer({ topic, clock, dropped: connections.dropped }, record)
    if (!known) this.#makeRoom()
    this.#known.set(peer.id, peer)
    peer.update({ connection, record })
    return peer
  }

  #look(peer: Peer): void {
    if (peer.look() && this.#joined.has(peer.id)) this.#options.emit('presence', peer)
  }

  /** Those that are away, the longest first. */
  #longestAway(): Peer[] {
    const away = [...this.#known.values()].filter(({ presence }) => presence === 'away')
    return away.sort((a, b) => b.unreachableForMs - a.unreachableForMs)
  }

  #makeRoom(): void {
    if (this.#known.size < this.#options.topology.maxLinks) return
    const [peer] = this.#longestAway()
    if (peer) this.#drop(peer, new MeshError(ErrorReason.PEER_LEFT, `${peer.id} was away when others needed the room`))
  }

  #settleDeparture(key: Uint8Array): void {
    const { view } = this.#options
    const peer = this.#known.get(formatPeerId(key))
    if (!peer || peer.attached || view.members.has(toHex(key)) || this.#missing.has(toHex(key))) return
    this.#drop(peer, new MeshError(ErrorReason.PEER_LEFT, `${peer.id} left the swarm`))
  }

  /** Ends what there is with a peer; `error` is what waits for it hears. */
  #drop(peer: Peer, error: MeshError): void {
    const { connections, handle, emit } = this.#options
    this.#known.delete(peer.id)
    // "Left" is for the peer itself to say: to it, this side only gives the link up.
    const there = error.reason === ErrorReason.PEER_LEFT ? notListed() : error
    connections.get(peer.key)?.unwant(handle(), there)
    peer.leave(error)
    if (this.#joined.delete(peer.id)) emit('leave', peer)
  }
}

function notListed(): MeshError {
  return new MeshError(ErrorReason.LINK_CLOSED, 'the directory does not list the peer any more')
}
