import { create } from '@bufbuild/protobuf'
import { ErrorReason, equalBytes, MeshError, toHex, type VerifiedRecord } from '@mesh/core'
import { type Attach, AttachSchema, type Detach, DetachSchema } from '@mesh/protocol/mesh/peer/v1/link_pb'
import type { ControlFrame, Link, LinkChannel } from '../link/index.ts'
import type { AdmissionContext } from './admission.ts'
import { OrderedQueue } from './ordered-queue.ts'
import type { TopicHandle } from './topic-handle.ts'

/**
 * The topics on one link. Each side attaches a topic with its evidence; the topic is attached when this side has sent its own
 * and accepted the other's. Checking evidence is asynchronous, so everything of the link that depends on it (later control
 * frames, channels) waits in one queue and keeps its order.
 */
export interface AttachmentsOptions {
  readonly link: Link
  readonly ownKey: Uint8Array
  readonly peerKey: Uint8Array
  readonly transcriptHash: Uint8Array
  readonly handle: (name: string) => TopicHandle | undefined
  readonly attached: (handle: TopicHandle, record: VerifiedRecord, directOnly: boolean) => void
  readonly detached: (handle: TopicHandle, error: MeshError) => void
  readonly channel: (handle: TopicHandle, channel: LinkChannel) => void
  /** Nothing is attached, or about to be, any more; `error` says to the other side why. */
  readonly empty: (error: MeshError) => void
}

interface Attachment {
  readonly handle: TopicHandle
  sent: boolean
  accepted: VerifiedRecord | undefined
  /** One side wants no data of the topic on the relay path. */
  directOnly: boolean
}

/** As many as a session may join. */
const MAX_TOPICS = 128
const MAX_PENDING = 512
const MAX_EVIDENCE_BYTES = 8 * 1024

export class Attachments {
  readonly #options: AttachmentsOptions
  readonly #topics = new Map<string, Attachment>()
  /** Topics that one side took off: not attached again on this link unless the other side begins. */
  readonly #refused = new Set<string>()
  readonly #queue: OrderedQueue
  #closed = false

  constructor(options: AttachmentsOptions) {
    this.#options = options
    this.#queue = new OrderedQueue(MAX_PENDING, (error) => options.link.close(error))
  }

  isAttached(name: string): boolean {
    const attachment = this.#topics.get(name)
    return attachment?.sent === true && attachment.accepted !== undefined
  }

  /** Whether a topic on the link may go by a direct path. */
  get allowDirect(): boolean {
    const { peerKey } = this.#options
    return [...this.#topics.values()].some(({ handle, sent, accepted }) => {
      return sent && accepted && handle.relay !== 'only' && handle.allowsDirect(peerKey)
    })
  }

  /** The link is over: nothing is attached from now on, whatever is still being checked. Gives the topics that were. */
  close(): TopicHandle[] {
    this.#closed = true
    const attached = [...this.#topics.values()].filter(({ sent, accepted }) => sent && accepted)
    this.#topics.clear()
    return attached.map(({ handle }) => handle)
  }

  /** Puts a topic on the link, unless it is there already or was refused. */
  attach(handle: TopicHandle): void {
    if (this.#closed || this.#topics.has(handle.name) || this.#refused.has(handle.name)) return
    this.#topics.set(handle.name, newAttachment(handle))
    this.#queue.run(() => this.#send(handle))
  }

  /** The own record is a newer one, with something to tell: says so to the other side, if the topic is on the link. */
  refresh(handle: TopicHandle): void {
    this.#queue.run(async () => {
      const attachment = this.#topics.get(handle.name)
      if (!attachment?.sent || !attachment.accepted) return
      // Who cannot say it again has said it already.
      const frame = await this.#attachFrame(handle).catch(() => undefined)
      if (frame && this.#topics.get(handle.name) === attachment) void this.#options.link.sendControl(frame)
    })
  }

  get isEmpty(): boolean {
    return this.#topics.size === 0
  }

  /** Takes a topic off; `error` tells the other side that its evidence was refused. */
  detach(name: string, error?: MeshError): void {
    const attachment = this.#topics.get(name)
    if (!attachment) return
    this.#topics.delete(name)
    const detail = error?.toDetail()
    const value = create(DetachSchema, { topic: attachment.handle.topic, ...(detail && { error: detail }) })
    if (attachment.sent) void this.#options.link.sendControl({ case: 'detach', value })
    const here = error ?? new MeshError(ErrorReason.LINK_CLOSED, 'this side left the swarm')
    this.#off(attachment, here, error ?? new MeshError(ErrorReason.PEER_LEFT, 'the other peer left the swarm'))
  }

  /** Attach or Detach of the other side. */
  control(frame: ControlFrame): void {
    if (frame.case === 'attach') this.#queue.run(() => this.#receive(frame.value))
    else if (frame.case === 'detach') this.#queue.run(() => this.#remoteDetach(frame.value))
  }

  /** Runs `task` when every control frame before it is dealt with. */
  after(task: () => void): void {
    this.#queue.run(task)
  }

  channel(channel: LinkChannel): void {
    this.#queue.run(() => {
      const attachment = this.#topics.get(toHex(channel.topic))
      if (attachment?.sent && attachment.accepted) this.#options.channel(attachment.handle, channel)
      else channel.reset(new MeshError(ErrorReason.NOT_MEMBER, 'the topic of this channel is not attached'))
    })
  }

  #context(topic: Uint8Array): AdmissionContext {
    const { ownKey, peerKey, transcriptHash } = this.#options
    return { topic, ownKey, peerKey, transcriptHash }
  }

  async #send(handle: TopicHandle): Promise<void> {
    const attachment = this.#topics.get(handle.name)
    if (!attachment || attachment.sent) return
    try {
      const frame = await this.#attachFrame(handle)
      if (this.#topics.get(handle.name) !== attachment) return
      attachment.sent = true
      void this.#options.link.sendControl(frame)
      this.#settle(attachment)
    } catch (error) {
      if (this.#topics.get(handle.name) !== attachment) return
      this.#topics.delete(handle.name)
      const refusal = MeshError.from(error)
      this.#off(attachment, refusal, refusal)
    }
  }

  async #attachFrame(handle: TopicHandle): Promise<ControlFrame> {
    const self = handle.self()
    if (!self) throw new MeshError(ErrorReason.NOT_MEMBER, 'this side is not joined')
    const { topic, admission, relay } = handle
    const evidence = await admission.present(this.#context(topic))
    const value = create(AttachSchema, { topic, evidence, record: self.record, directOnly: relay === 'never' })
    return { case: 'attach', value }
  }

  async #receive({ topic, evidence, record, directOnly }: Attach): Promise<void> {
    const name = toHex(topic)
    const handle = this.#options.handle(name)
    if (this.#closed) return
    if (!handle) return this.#refuse(topic, new MeshError(ErrorReason.NOT_MEMBER, 'this peer is not in that swarm'))
    if (!this.#topics.has(name) && this.#topics.size >= MAX_TOPICS) return this.#refuse(topic, tooManyTopics())
    try {
      if (directOnly && handle.relay === 'only') throw noPathForBoth()
      const verified = await this.#verify(handle, evidence, record)
      if (this.#closed) return
      let attachment = this.#topics.get(name)
      if (!attachment) {
        attachment = newAttachment(handle)
        this.#topics.set(name, attachment)
      }
      attachment.accepted = verified
      attachment.directOnly ||= directOnly
      this.#refused.delete(name)
      if (!attachment.sent) await this.#send(handle)
      else this.#settle(attachment)
    } catch (error) {
      if (this.#closed) return
      const refusal = MeshError.from(error)
      this.#refused.add(name)
      if (this.#topics.has(name)) this.detach(name, refusal)
      else this.#refuse(topic, refusal)
    }
  }

  async #verify(handle: TopicHandle, evidence: Uint8Array, record: Attach['record']): Promise<VerifiedRecord> {
    if (!record) throw new MeshError(ErrorReason.RECORD_MALFORMED, 'Attach carries no record')
    const verified = await handle.verify(record)
    if (!equalBytes(verified.record.peerKey, this.#options.peerKey)) {
      throw new MeshError(ErrorReason.RECORD_PEER, "Attach carries somebody else's record")
    }
    if (!handle.accepts(verified))
      throw new MeshError(ErrorReason.LINK_REFUSED, 'this side has no room for another peer')
    const admitted =
      evidence.length <= MAX_EVIDENCE_BYTES &&
      (await handle.admission.verify(this.#context(handle.topic), evidence).catch(() => false))
    if (!admitted) throw new MeshError(ErrorReason.ADMISSION_REFUSED, 'the evidence does not admit to this swarm')
    return verified
  }

  #refuse(topic: Uint8Array, error: MeshError): void {
    const value = create(DetachSchema, { topic, error: error.toDetail() })
    void this.#options.link.sendControl({ case: 'detach', value })
    if (this.#topics.size === 0) this.#options.empty(error)
  }

  #remoteDetach({ topic, error }: Detach): void {
    const name = toHex(topic)
    const attachment = this.#topics.get(name)
    if (!attachment) return
    this.#topics.delete(name)
    this.#refused.add(name)
    const cause = error
      ? MeshError.fromDetail(error, 'the other peer refused the swarm on this link')
      : new MeshError(ErrorReason.PEER_LEFT, 'the other peer left the swarm')
    this.#off(attachment, cause, new MeshError(ErrorReason.LINK_CLOSED, 'no swarm uses the link any more'))
  }

  #settle({ handle, sent, accepted, directOnly }: Attachment): void {
    if (!sent || !accepted) return
    if (directOnly) this.#options.link.confine(handle.topic)
    this.#options.attached(handle, accepted, directOnly)
  }

  /** `error` is for this side, `there` what the other side hears if the link ends with it. */
  #off(attachment: Attachment, error: MeshError, there: MeshError): void {
    this.#options.detached(attachment.handle, error)
    // A Detach frame would not leave any more.
    if (this.#topics.size === 0) this.#options.empty(there)
  }
}

function newAttachment(handle: TopicHandle): Attachment {
  return { handle, sent: false, accepted: undefined, directOnly: handle.relay === 'never' }
}

function noPathForBoth(): MeshError {
  const message = 'one side allows only the relay path for this swarm, the other only a direct one'
  return new MeshError(ErrorReason.CONFIGURATION, message)
}

function tooManyTopics(): MeshError {
  return new MeshError(ErrorReason.LIMIT_EXCEEDED, `more than ${MAX_TOPICS} topics on one link`, {
    limit: 'topics_per_link',
    limitValue: MAX_TOPICS,
  })
}
