import { fromBinary } from '@bufbuild/protobuf'
import {
  compareBytes,
  ErrorReason,
  equalBytes,
  MeshError,
  openSignal,
  ReplayWindow,
  toHex,
  type VerifiedRecord,
} from '@mesh/core'
import { type PeerPayload, PeerPayloadSchema, type SealedSignal } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import type { SessionLimits } from '@mesh/protocol/mesh/signal/v1/session_pb'
import type { Envelope } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import type { OutgoingEnvelope } from '../signal/outbox.ts'
import type { SignalSession } from '../signal/session.ts'
import type { ConnectionContext } from './connection-context.ts'
import { OrderedQueue } from './ordered-queue.ts'
import { PeerConnection } from './peer-connection.ts'
import type { TopicHandle } from './topic-handle.ts'
import { Turns } from './turns.ts'

/**
 * All connections of one client: at most one per peer. Takes the envelopes the servers deliver, opens the sealed signals in
 * them, and gives each to its connection; every byte here comes from a stranger until a seal or a packet has opened.
 */
export interface ConnectionsOptions
  extends Pick<ConnectionContext, 'clock' | 'random' | 'key' | 'rtc' | 'aead' | 'iceServers' | 'relayUp'> {
  /** Own sessions, one per server. */
  readonly sessions: () => readonly SignalSession[]
  readonly send: (envelope: OutgoingEnvelope) => Promise<unknown>
}

/** Why envelopes were dropped, by reason: for diagnosis. */
export type DropCounts = Partial<Record<string, number>>

/** 16 handshakes and 8 attempts at WebRTC at once keep a start in a large swarm from starving itself. */
const MAX_LINKS_OPENING = 16
const MAX_RTC_ATTEMPTS = 8
const MAX_PEERS = 1_024
/** Only senders whose signature was verified get a window, so strangers cannot push others out. */
const MAX_REPLAY_WINDOWS = 2_048
const REPLAY_WINDOW_SIZE = 1_024
const MAX_PENDING_SIGNALS = 256
/** How long a server may hold a handshake or a packet for a peer that is reconnecting. */
const HOLD_MS = 10_000

export class Connections {
  readonly dropped: DropCounts = {}
  readonly #options: ConnectionsOptions
  readonly #context: ConnectionContext
  readonly #handles = new Map<string, TopicHandle>()
  readonly #peers = new Map<string, PeerConnection>()
  readonly #closing = new Set<Promise<void>>()
  readonly #windows = new Map<string, ReplayWindow>()
  #lastSeq = 0n
  readonly #signals = new OrderedQueue(MAX_PENDING_SIGNALS, (error) => this.#drop(error))

  constructor(options: ConnectionsOptions) {
    const links = new Turns(MAX_LINKS_OPENING)
    const attempts = new Turns(MAX_RTC_ATTEMPTS)
    this.#options = options
    this.#context = {
      clock: options.clock,
      random: options.random,
      key: options.key,
      rtc: options.rtc,
      aead: options.aead,
      iceServers: options.iceServers,
      limits: () => tightest(options.sessions()),
      relayUp: options.relayUp,
      handle: (name) => this.#handles.get(name),
      nextSignalSeq: () => ++this.#lastSeq,
      holds: (sessionId) => options.sessions().some(({ id }) => equalBytes(id, sessionId)),
      send: (to, topic, payload) => options.send({ to, topic, payload, ttlMs: HOLD_MS }),
      rtcTurn: () => attempts.take(),
      linkTurn: () => links.take(),
      closing: (ended) => {
        this.#closing.add(ended)
        void ended.finally(() => this.#closing.delete(ended))
      },
      unused: (connection) => this.#forget(connection),
    }
  }

  /** Adds a swarm: links in its topic may be opened and accepted. Throws CONFIGURATION when none of them could carry data. */
  register(handle: TopicHandle): void {
    if (handle.relay === 'never' && !this.#options.rtc) {
      throw new MeshError(ErrorReason.CONFIGURATION, "relay: 'never' leaves no path where there is no WebRTC")
    }
    this.#handles.set(handle.name, handle)
  }

  /** Takes a swarm off every link. Resolves when the goodbyes of links that ended with it have left, within 250 ms. */
  async unregister(handle: TopicHandle): Promise<void> {
    for (const connection of [...this.#peers.values()]) connection.unwant(handle)
    this.#handles.delete(handle.name)
    await Promise.all(this.#closing)
  }

  get(peerKey: Uint8Array): PeerConnection | undefined {
    return this.#peers.get(toHex(peerKey))
  }

  /** The connection to a peer a swarm wants; undefined when there are 1,024 already. */
  want(handle: TopicHandle, record: VerifiedRecord): PeerConnection | undefined {
    const connection = this.#connection(record.record.peerKey)
    connection?.want(handle, record)
    return connection
  }

  /** See PeerConnection.check. */
  check(): void {
    for (const connection of [...this.#peers.values()]) connection.check()
  }

  /** See PeerConnection.signalChanged. */
  signalChanged(): void {
    for (const connection of [...this.#peers.values()]) connection.signalChanged()
  }

  /** Takes one envelope. Never throws: what cannot be read is dropped and counted. */
  receive(envelope: Envelope): void {
    const payload = decodePayload(envelope.payload)
    if (payload.case === 'packets') {
      const { connectionId, packets } = payload.value
      this.get(envelope.from)?.receivePackets(connectionId, packets)
    } else if (payload.case === 'signal') {
      const sealed = payload.value
      this.#signals.run(() => this.#receiveSignal(envelope, sealed))
    } else {
      this.#drop(new MeshError(ErrorReason.SEAL_MALFORMED, 'the payload is no PeerPayload'))
    }
  }

  /** Says goodbye on every link. Resolves when the goodbyes have left, or could not within 250 ms. */
  async close(error: MeshError): Promise<void> {
    for (const connection of this.#peers.values()) connection.close(error)
    this.#peers.clear()
    this.#handles.clear()
    await Promise.all(this.#closing)
  }

  async #receiveSignal(envelope: Envelope, sealed: SealedSignal): Promise<void> {
    const handle = this.#handles.get(toHex(envelope.topic))
    const sessions = this.#options.sessions()
    // Whichever server brought it. To none of them: the first one says what is wrong with it.
    const session = sessions.find(({ keyId }) => equalBytes(keyId, sealed.keyId)) ?? sessions[0]
    const self = handle?.self()
    if (!handle || !session || !self)
      throw new MeshError(ErrorReason.NOT_MEMBER, 'a signal for a topic that is not joined')
    const { signal, exported } = await openSignal({
      sealed,
      sessionKey: session.sessionKey,
      self: { peerKey: this.#options.key.publicKey, sessionId: session.id },
      topic: handle.topic,
      expectFrom: envelope.from,
      ...(self.party.psk && { psk: self.party.psk }),
    })
    const replayed = !this.#window(signal.from, signal.fromSession).accept(signal.seq)
    const known = this.get(signal.from)
    const opens = signal.body.case === 'hello' || signal.body.case === 'knock'
    const connection = known ?? (opens && !replayed ? this.#connection(signal.from) : undefined)
    connection?.receiveSignal(handle, signal, exported, replayed)
  }

  #connection(peerKey: Uint8Array): PeerConnection | undefined {
    const name = toHex(peerKey)
    const known = this.#peers.get(name)
    if (known || this.#peers.size >= MAX_PEERS) return known
    const order = compareBytes(this.#options.key.publicKey, peerKey)
    if (order === 0) return undefined
    const connection = new PeerConnection(this.#context, peerKey, order < 0 ? 'lower' : 'higher')
    this.#peers.set(name, connection)
    return connection
  }

  #forget(connection: PeerConnection): void {
    const name = toHex(connection.key)
    if (this.#peers.get(name) === connection) this.#peers.delete(name)
  }

  #window(from: Uint8Array, session: Uint8Array): ReplayWindow {
    const name = `${toHex(from)}${toHex(session)}`
    let window = this.#windows.get(name)
    // Deleting and setting again keeps the map in order of use: the first one is the oldest.
    this.#windows.delete(name)
    window ??= new ReplayWindow(REPLAY_WINDOW_SIZE)
    this.#windows.set(name, window)
    if (this.#windows.size > MAX_REPLAY_WINDOWS) {
      for (const oldest of this.#windows.keys()) {
        this.#windows.delete(oldest)
        break
      }
    }
    return window
  }

  #drop(error: MeshError): void {
    this.dropped[error.reasonName] = (this.dropped[error.reasonName] ?? 0) + 1
  }
}

/** The limits of the server that allows a pair the least: what it takes, every server takes. */
function tightest(sessions: readonly SignalSession[]): SessionLimits | undefined {
  const rate = (limits: SessionLimits | undefined) => limits?.pairMessagesPerSecond || Number.POSITIVE_INFINITY
  return sessions
    .map(({ limits }) => limits)
    .reduce((least, limits) => (rate(limits) < rate(least) ? limits : least), undefined)
}

function decodePayload(bytes: Uint8Array): PeerPayload['payload'] {
  try {
    return fromBinary(PeerPayloadSchema, bytes).payload
  } catch {
    // Whoever sent it is no MESH peer of this version; the caller counts it.
    return { case: undefined }
  }
}
