import { ErrorReason, type LinkKeys, MeshError, type Timer } from '@mesh/core'
import type { Packet } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import type { Link, PathName } from '../link/index.ts'
import { Attachments } from './attachments.ts'
import type { ConnectionContext } from './connection-context.ts'
import { DirectPath } from './direct-path.ts'
import type { Generation } from './generations.ts'
import { OpenLink, type PacketCounts } from './open-link.ts'
import type { PeerConnection } from './peer-connection.ts'

/** An open link to a peer with everything that lives and ends with it: the direct path and the attached topics. */
export interface LinkedPeerOptions {
  readonly context: ConnectionContext
  readonly connection: PeerConnection
  readonly keys: LinkKeys
  readonly connectionId: Uint8Array
  /** A topic both are listed in; relayed packets travel under it. */
  readonly topicForRelay: () => Uint8Array | undefined
  readonly onChange: () => void
  readonly onClosed: (error: MeshError) => void
}

const ADMIT_TIMEOUT_MS = 10_000

export class LinkedPeer {
  readonly attachments: Attachments
  readonly direct: DirectPath
  readonly #open: OpenLink
  readonly #admission: Timer
  #lastTopic: Uint8Array | undefined
  #wasAlive = false

  constructor(options: LinkedPeerOptions) {
    const { context, connection, keys, connectionId } = options
    this.#open = new OpenLink({
      clock: context.clock,
      role: connection.role,
      keys,
      connectionId,
      limits: context.limits(),
      sendRelay: (payload) => this.#sendRelay(options, payload),
      onRelayFailure: (error) => {
        if (error.reason === ErrorReason.RECIPIENT_ABSENT) this.relayError = error
      },
      effects: {
        control: (frame) => {
          if (frame.case === 'rtc') this.attachments.after(() => this.direct.receive(frame.value))
          else this.attachments.control(frame)
        },
        channel: (channel) => this.attachments.channel(channel),
        pathChanged: () => this.#pathChanged(options),
        directDead: (error) => this.direct.fail(error),
        closed: (error) => this.#onClosed(options, error),
      },
    })
    this.direct = new DirectPath({
      clock: context.clock,
      random: context.random,
      factory: () => (this.attachments.allowDirect ? context.rtc : undefined),
      reachable: () => this.alive,
      iceServers: context.iceServers,
      offerer: connection.role === 'lower',
      turn: context.rtcTurn,
      sendSignal: (signal) => void this.link.sendControl({ case: 'rtc', value: signal }),
      onChannel: (channel, datagrams) => this.#open.useChannel(channel, datagrams),
      onDown: () => this.#open.dropChannel(),
      onChange: options.onChange,
    })
    this.attachments = new Attachments({
      link: this.link,
      ownKey: context.key.publicKey,
      peerKey: connection.key,
      transcriptHash: keys.transcriptHash,
      handle: context.handle,
      attached: (handle, record, directOnly) => {
        this.#admission.cancel()
        this.direct.enable()
        handle.attached(connection, record, directOnly)
      },
      detached: (handle, error) => {
        // With the last topic the link ends, by a Goodbye that needs its path.
        if (!this.attachments.isEmpty) this.direct.reconsider()
        handle.detached(connection, error)
      },
      channel: (handle, channel) => handle.channel(connection, channel),
      empty: (error) => this.close(error),
    })
    this.#admission = context.clock.schedule(ADMIT_TIMEOUT_MS, () => {
      this.close(new MeshError(ErrorReason.LINK_TIMEOUT, `the peer attached no swarm within ${ADMIT_TIMEOUT_MS} ms`))
    })
  }

  /** Last time the server said that the peer is not there. */
  relayError: MeshError | undefined

  get link(): Link {
    return this.#open.link
  }

  get path(): PathName | undefined {
    return this.link.path
  }

  /** Whether there is a path, and the other side answers by it as far as is known. */
  get alive(): boolean {
    return this.path !== undefined && !this.link.silent
  }

  /** Unix time at which something of the other side came last. */
  get heardAtMs(): number | undefined {
    return this.#open.heardAtMs
  }

  get connectionId(): Uint8Array {
    return this.#open.connectionId
  }

  get sealed(): bigint {
    return this.#open.sealed
  }

  get counts(): PacketCounts {
    return this.#open.counts
  }

  setRelay(usable: boolean): void {
    if (this.link.state === 'open') this.link.setPath('relay', { usable })
  }

  receiveRelayed(connectionId: Uint8Array, packets: readonly Packet[]): void {
    this.#open.receiveRelayed(connectionId, packets)
  }

  /** True when packets of this connection belong to the link. */
  knows(connectionId: Uint8Array): boolean {
    return this.#open.knows(connectionId)
  }

  /** See OpenLink.rekey. */
  rekey(next: Generation, replaced: Uint8Array | undefined): void {
    this.#open.rekey(next, replaced)
  }

  /** This side slept, or its network changed: see Link.check. */
  check(): void {
    this.link.check()
    this.direct.hurry()
  }

  close(error: MeshError): void {
    this.#open.close(error)
  }

  #pathChanged({ onChange }: LinkedPeerOptions): void {
    const { alive } = this
    if (alive && !this.#wasAlive) this.direct.hurry()
    this.#wasAlive = alive
    onChange()
  }

  async #sendRelay({ context, connection, topicForRelay }: LinkedPeerOptions, payload: Uint8Array): Promise<void> {
    // The Goodbye of the last topic still goes by it.
    const topic = topicForRelay() ?? this.#lastTopic
    this.#lastTopic = topic
    if (!topic) throw new MeshError(ErrorReason.RECIPIENT_ABSENT, 'the peer is in no topic of ours any more')
    await context.send(connection.key, topic, payload)
  }

  #onClosed({ context, onClosed, connection }: LinkedPeerOptions, error: MeshError): void {
    this.#admission.cancel()
    context.closing(this.#open.finish().then(() => this.direct.close()))
    const attached = this.attachments.close()
    onClosed(error)
    for (const handle of attached) handle.detached(connection, error)
  }
}
