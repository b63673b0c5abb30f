import { MeshError, type Peer } from '@mesh/client'
import { FILE_CHANNEL_NAME } from '../file-transfer/file-channel.ts'
import type { FileOffer } from '../file-transfer/receive-file.ts'
import { sendFile } from '../file-transfer/send-file.ts'
import { BlobSink } from './blob-sink.ts'
import { explain } from './explain.ts'
import type { Author } from './timeline.ts'

export type TransferState =
  /** The receiver has not answered yet. */
  | { readonly kind: 'asking' }
  /** `since`: performance.now() when the first byte was due. */
  | { readonly kind: 'moving'; readonly since: number }
  /** `url` of what was received, for a download link. */
  | { readonly kind: 'done'; readonly checksum: string; readonly url: string | undefined }
  | { readonly kind: 'ended'; readonly why: string }

/** One file on its way, as the page shows it. */
export interface Transfer {
  readonly direction: 'out' | 'in'
  readonly partner: Author
  readonly name: string
  readonly sizeBytes: number
  readonly movedBytes: number
  readonly state: TransferState
  /** Called off, by whoever uses this page. */
  cancel(): void
  /** Takes an offered file; only before it is answered, and only of the direction 'in'. */
  accept(): void
  /** Frees what a received file holds. */
  release(): void
}

const REFUSALS = {
  declined: 'They did not want it.',
  'too-large': 'It is larger than they take.',
  busy: 'They are taking as many files as they can; try again later.',
}
const LOSSES = {
  size: 'The number of bytes is wrong, so nothing was kept.',
  checksum: 'The checksum is wrong, so nothing was kept.',
  storage: 'There was no room to keep it.',
}

/** A file from here to a peer. */
export class OutgoingTransfer implements Transfer {
  readonly direction = 'out'
  readonly partner: Author
  readonly name: string
  readonly sizeBytes: number
  movedBytes = 0
  state: TransferState = { kind: 'asking' }
  readonly #abort = new AbortController()
  readonly #changed: () => void

  constructor(partner: Author, file: File, changed: () => void) {
    this.partner = partner
    this.name = file.name
    this.sizeBytes = file.size
    this.#changed = changed
  }

  /** Offers and sends. Never rejects: the state tells. */
  async run(peer: Peer, file: File): Promise<void> {
    const { signal } = this.#abort
    try {
      const channel = await peer.open(FILE_CHANNEL_NAME, { kind: 'messages', signal })
      const result = await sendFile(channel, file, {
        signal,
        onAccepted: () => this.#set({ kind: 'moving', since: performance.now() }),
        onProgress: (bytes) => {
          this.movedBytes = bytes
          this.#changed()
        },
      })
      if (result.kind === 'stored') this.#set({ kind: 'done', checksum: result.checksum, url: undefined })
      else this.#set({ kind: 'ended', why: result.kind === 'refused' ? REFUSALS[result.why] : LOSSES[result.why] })
    } catch (error) {
      this.#set({ kind: 'ended', why: describe(error, signal) })
    }
  }

  cancel(): void {
    this.#abort.abort()
  }

  accept(): void {}

  release(): void {}

  #set(state: TransferState): void {
    this.state = state
    this.#changed()
  }
}

/** A file a peer offers. */
export class IncomingTransfer implements Transfer {
  readonly direction = 'in'
  readonly partner: Author
  readonly name: string
  readonly sizeBytes: number
  movedBytes = 0
  state: TransferState = { kind: 'asking' }
  readonly #offer: FileOffer
  readonly #abort = new AbortController()
  readonly #changed: () => void
  #answered = false

  constructor(partner: Author, offer: FileOffer, changed: () => void) {
    this.partner = partner
    this.name = offer.name
    this.sizeBytes = offer.sizeBytes
    this.#offer = offer
    this.#changed = changed
    void offer.closed.then((error) => this.#withdrawn(error))
  }

  accept(): void {
    if (this.#answered) return
    this.#answered = true
    this.#set({ kind: 'moving', since: performance.now() })
    void this.#receive()
  }

  cancel(): void {
    if (this.#answered) return this.#abort.abort()
    this.#answered = true
    this.#set({ kind: 'ended', why: 'You did not take it.' })
    // A sender that is gone needs no answer.
    this.#offer.refuse('declined').catch(() => {})
  }

  release(): void {
    if (this.state.kind === 'asking' || this.state.kind === 'moving') this.cancel()
    if (this.state.kind === 'done' && this.state.url) URL.revokeObjectURL(this.state.url)
  }

  async #receive(): Promise<void> {
    const { signal } = this.#abort
    const sink = new BlobSink()
    try {
      const result = await this.#offer.accept(sink, {
        signal,
        onProgress: (bytes) => {
          this.movedBytes = bytes
          this.#changed()
        },
      })
      if (result.kind === 'not-stored') return this.#set({ kind: 'ended', why: LOSSES[result.why] })
      this.#set({ kind: 'done', checksum: result.checksum, url: URL.createObjectURL(sink.blob) })
    } catch (error) {
      this.#set({ kind: 'ended', why: describe(error, signal) })
    }
  }

  #withdrawn(error: MeshError | undefined): void {
    if (this.#answered) return
    this.#answered = true
    this.#set({ kind: 'ended', why: error ? explain(error) : 'They withdrew it.' })
  }

  #set(state: TransferState): void {
    this.state = state
    this.#changed()
  }
}

function describe(error: unknown, signal: AbortSignal): string {
  return signal.aborted ? 'You called it off.' : explain(MeshError.from(error))
}
