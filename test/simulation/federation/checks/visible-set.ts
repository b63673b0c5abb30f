import { type ByteKey, byteKey } from '../../../../server/byte-key.ts'
import type { TopicChange } from '../../../../server/directory/directory.ts'
import type { SimProcess } from '../servers/sim-process.ts'
import type { World } from '../world.ts'
import { type RowFact, rowKey } from './origin-history.ts'

/** I6 at one process: what it says changed, against what it shows, and against what its clients made of it. */
export class VisibleSet {
  readonly #world: World
  readonly #process: SimProcess
  /** By topic that somebody here watches: who is there, by the changes, with the seq of the record. */
  readonly #folded = new Map<ByteKey, Map<ByteKey, bigint>>()
  #revision = 0n
  /** Topics of which something changed since the last check. */
  readonly #dirty: Set<ByteKey>

  constructor(world: World, process: SimProcess) {
    this.#world = world
    this.#process = process
    this.#dirty = new Set(world.topicKeys)
  }

  onChange(change: TopicChange): void {
    this.#dirty.add(change.topicKey)
    if (change.revision <= this.#revision) this.#broken(`revision ${change.revision} follows ${this.#revision}`)
    this.#revision = change.revision
    const members = this.#folded.get(change.topicKey)
    if (members === undefined) return
    const known = members.has(change.peer)
    const client = this.#world.clientOf(change.peer)?.index
    if (known !== (change.kind !== 'joined')) {
      this.#broken(`client ${client} ${change.kind}, and it was ${known ? '' : 'not '}there`)
    }
    if (change.kind === 'left') members.delete(change.peer)
    else members.set(change.peer, change.record.record.seq)
  }

  /** The last own peer may have left the topic: from then on nobody watches it, and nothing is told. */
  onOwnChange(topicKey: ByteKey): void {
    if (this.#process.domain.directory.memberCount(topicKey) === 0) this.#folded.delete(topicKey)
  }

  /** After a step: the changes fold to what is shown. Of a topic that nobody watches nothing is told. */
  check(): void {
    for (const topicKey of this.#world.topicKeys) {
      const watched = this.#process.domain.directory.memberCount(topicKey) > 0
      if (watched !== this.#folded.has(topicKey)) this.#dirty.add(topicKey)
    }
    if (this.#dirty.size === 0) return
    for (const topicKey of this.#dirty) {
      if (this.#process.domain.directory.memberCount(topicKey) === 0) continue
      const shown = this.#shown(topicKey)
      const folded = this.#folded.get(topicKey)
      if (folded === undefined) this.#folded.set(topicKey, shown)
      else this.#compare('its changes fold to', folded, shown, topicKey)
    }
    this.#dirty.clear()
    this.#checkClients()
  }

  /** I5: what this server sees, against who is where. `records`: also that each is shown with its newest record. */
  differencesFrom(expected: ReadonlyMap<string, RowFact>, records: boolean): string[] {
    const found: string[] = []
    for (const topicKey of this.#world.topicKeys) {
      const shown = this.#shown(topicKey)
      for (const { peer, index } of this.#world.clients) {
        const seq = expected.get(rowKey(topicKey, peer))?.recordSeq
        if (shown.get(peer) === seq || (!records && shown.has(peer) && seq !== undefined)) continue
        const what = seq === undefined ? 'shows' : shown.has(peer) ? 'shows another record of' : 'does not show'
        const topic = this.#world.topicKeys.indexOf(topicKey)
        found.push(`server ${this.#process.index} ${what} client ${index} in topic ${topic}`)
      }
    }
    return found
  }

  #checkClients(): void {
    for (const client of this.#world.clients) {
      for (const session of client.sessions) {
        if (session.process !== this.#process || !session.streaming) continue
        for (const [topicKey, { members }] of session.views) {
          const others = new Map(this.#folded.get(topicKey) ?? this.#shown(topicKey))
          others.delete(client.peer)
          this.#compare(`client ${client.index} sees`, members, others, topicKey)
        }
      }
    }
  }

  #shown(topicKey: ByteKey): Map<ByteKey, bigint> {
    const { records } = this.#process.backplane.members.page(topicKey, 0, 1_000)
    return new Map(records.map(({ record }) => [byteKey(record.peerKey), record.seq]))
  }

  #compare(
    who: string,
    folded: ReadonlyMap<ByteKey, bigint>,
    shown: ReadonlyMap<ByteKey, bigint>,
    topicKey: ByteKey,
  ): void {
    if (folded.size === shown.size && [...shown].every(([peer, seq]) => folded.get(peer) === seq)) return
    const topic = this.#world.topicKeys.indexOf(topicKey)
    this.#broken(`in topic ${topic} ${who} ${this.#list(folded)}, and it shows ${this.#list(shown)}`)
  }

  #list(members: ReadonlyMap<ByteKey, bigint>): string {
    const names = [...members].map(([peer, seq]) => `${this.#world.clientOf(peer)?.index}#${seq % 100_000n}`)
    return `[${names.sort().join(' ')}]`
  }

  #broken(what: string): void {
    this.#world.violation(`I6 server ${this.#process.index}: ${what}`)
  }
}
