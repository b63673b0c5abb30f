import type { ByteKey } from '../byte-key.ts'
import type { TopicChange } from './directory.ts'

interface View {
  readonly size: number
  readonly peers: Set<ByteKey>
}

interface TopicAudience<V> {
  readonly views: Map<V, View>
  /** Who has a peer in its view. */
  readonly watchers: Map<ByteKey, Set<V>>
  /** Viewers whose view has room: the ones that hear of new members. */
  readonly roomy: Set<V>
}

/**
 * Decides who hears of which member, so that a topic with 100,000 members costs each of them what one with 100 does.
 *
 * A viewer starts with the members its Join returned and hears of their changes only; while its view has room, new
 * members enter it. A departure makes room again. In a topic that fits into everybody's view everybody hears of
 * everything. Cost of a change: the viewers that hear of it.
 */
export class TopicViews<V extends { readonly peer: ByteKey }> {
  readonly #topics = new Map<ByteKey, TopicAudience<V>>()

  /** Starts or replaces the viewer's view of a topic with `peers` and room for `size` in all. */
  enter(topicKey: ByteKey, viewer: V, peers: Iterable<ByteKey>, size: number): void {
    this.exit(topicKey, viewer)
    const audience = this.#topics.get(topicKey) ?? this.#create(topicKey)
    const view: View = { size, peers: new Set(peers) }
    audience.views.set(viewer, view)
    for (const peer of view.peers) watch(audience, peer, viewer)
    if (view.peers.size < size) audience.roomy.add(viewer)
  }

  /** Ends the viewer's view of a topic, if it has one. */
  exit(topicKey: ByteKey, viewer: V): void {
    const audience = this.#topics.get(topicKey)
    const view = audience?.views.get(viewer)
    if (audience === undefined || view === undefined) return
    for (const peer of view.peers) unwatch(audience, peer, viewer)
    audience.views.delete(viewer)
    audience.roomy.delete(viewer)
    if (audience.views.size === 0) this.#topics.delete(topicKey)
  }

  /** The peers in the viewer's view; undefined without one. */
  peers(topicKey: ByteKey, viewer: V): ReadonlySet<ByteKey> | undefined {
    return this.#topics.get(topicKey)?.views.get(viewer)?.peers
  }

  /** Updates the views with a change and returns who must hear of it. Never the peer itself. */
  audience(change: TopicChange): V[] {
    const audience = this.#topics.get(change.topicKey)
    if (audience === undefined) return []
    switch (change.kind) {
      case 'joined':
        return admit(audience, change.peer)
      case 'updated':
        return [...(audience.watchers.get(change.peer) ?? [])]
      case 'left':
        return dismiss(audience, change.peer)
    }
  }

  #create(topicKey: ByteKey): TopicAudience<V> {
    const audience: TopicAudience<V> = { views: new Map(), watchers: new Map(), roomy: new Set() }
    this.#topics.set(topicKey, audience)
    return audience
  }
}

function admit<V extends { readonly peer: ByteKey }>(audience: TopicAudience<V>, peer: ByteKey): V[] {
  const told: V[] = []
  for (const viewer of audience.roomy) {
    const view = audience.views.get(viewer)
    if (view === undefined || viewer.peer === peer || view.peers.has(peer)) continue
    view.peers.add(peer)
    watch(audience, peer, viewer)
    if (view.peers.size >= view.size) audience.roomy.delete(viewer)
    told.push(viewer)
  }
  return told
}

function dismiss<V>(audience: TopicAudience<V>, peer: ByteKey): V[] {
  const told = [...(audience.watchers.get(peer) ?? [])]
  audience.watchers.delete(peer)
  for (const viewer of told) {
    audience.views.get(viewer)?.peers.delete(peer)
    audience.roomy.add(viewer)
  }
  return told
}

function watch<V>(audience: TopicAudience<V>, peer: ByteKey, viewer: V): void {
  const watchers = audience.watchers.get(peer)
  if (watchers === undefined) audience.watchers.set(peer, new Set([viewer]))
  else watchers.add(viewer)
}

function unwatch<V>(audience: TopicAudience<V>, peer: ByteKey, viewer: V): void {
  const watchers = audience.watchers.get(peer)
  watchers?.delete(viewer)
  if (watchers?.size === 0) audience.watchers.delete(peer)
}
