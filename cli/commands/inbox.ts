import type { Channel, Swarm } from '@mesh/client'
import { ErrorReason, MeshError, systemClock, toHex } from '@mesh/core'
import type { CommandContext } from '../command.ts'
import { ExitCode } from '../exit-code.ts'
import { CommandError, describeFailure } from '../failure.ts'
import { FILE_CHANNEL, FileChannel } from '../file/file-channel.ts'
import { safeFileName } from '../file/file-name.ts'
import { freeBytes, IncomingFile } from '../file/incoming-file.ts'
import { type OfferedFile, receiveContent, receiveOffer, refuseOffer } from '../file/receive-file.ts'
import { peerLabel } from '../peer-name.ts'
import { formatBytes, formatDuration, formatRate } from '../quantity.ts'
import { confirm } from '../terminal/line-reader.ts'
import { ProgressDisplay } from '../terminal/progress.ts'
import { printable, shortPeerId } from '../terminal/style.ts'

const OFFER_TIMEOUT_MS = 10_000
/** Left free on the disk of the folder. */
const SPARE_BYTES = 16 * 1_024 ** 2

/** Which files are welcome, and where they are put. */
export interface InboxRules {
  /** Peer ids; empty for everybody. */
  readonly from: readonly string[]
  readonly maxBytes: number
  readonly directory: string
  /** Accept without asking. */
  readonly yes: boolean
}

/** Takes offers one at a time; who comes meanwhile is told that this peer is busy. */
export class Inbox {
  readonly #context: CommandContext
  readonly #swarm: Swarm
  readonly #rules: InboxRules
  readonly #over = Promise.withResolvers<void>()
  #busy = false
  #received = 0
  #failure: unknown

  constructor(context: CommandContext, swarm: Swarm, rules: InboxRules) {
    this.#context = context
    this.#swarm = swarm
    this.#rules = rules
  }

  /** Resolves after one file, or with `keepOn` at an interrupt. Rejects with what went wrong, or the interrupt. */
  async run(keepOn: boolean, signal: AbortSignal): Promise<ExitCode> {
    let lastError: MeshError | undefined
    this.#swarm.on('channel', (channel) => void this.#take(channel, keepOn))
    this.#swarm.on('error', (error) => {
      lastError = error
    })
    this.#swarm.on('status', (status) => {
      if (status === 'closed') this.#over.reject(lastError ?? new CommandError('CLOSED', 'the session ended'))
    })
    signal.addEventListener('abort', () => this.#over.reject(signal.reason), { once: true })
    if (signal.aborted) this.#over.reject(signal.reason)
    try {
      await this.#over.promise
    } catch (error) {
      if (!keepOn || !signal.aborted || this.#received === 0) throw error
    }
    if (this.#failure !== undefined) throw this.#failure
    return ExitCode.ok
  }

  async #take(channel: Channel, keepOn: boolean): Promise<void> {
    if (channel.name !== FILE_CHANNEL) {
      return channel.abort(new MeshError(ErrorReason.NOT_SUPPORTED, 'this peer receives files only'))
    }
    const files = new FileChannel(channel, systemClock)
    const offer = await this.#readOffer(files)
    if (offer === undefined) return
    // Only now, so that a peer that opens a channel and says nothing keeps nobody waiting.
    if (this.#busy) return refuseOffer(files, 'busy')
    this.#busy = true
    try {
      if (await this.#isWelcome(files, offer)) await this.#receive(files, offer)
    } catch (error) {
      this.#onFailure(files, error, keepOn)
    } finally {
      this.#busy = false
    }
    if (!keepOn && (this.#received > 0 || this.#failure !== undefined)) this.#over.resolve()
  }

  /** The offer, when the rules allow it; otherwise the sender has been told, or has gone. */
  async #readOffer(files: FileChannel): Promise<OfferedFile | undefined> {
    const { from, maxBytes, directory } = this.#rules
    const { interrupts, output } = this.#context
    try {
      const offer = await receiveOffer(files, { timeoutMs: OFFER_TIMEOUT_MS, signal: interrupts.signal })
      if (from.length > 0 && !from.includes(files.peer.id)) {
        return await this.#refuse(files, offer, 'declined', 'it is not from a peer of --from')
      }
      if (offer.sizeBytes > maxBytes) {
        return await this.#refuse(files, offer, 'too-large', `it is larger than ${formatBytes(maxBytes)}`)
      }
      const free = await freeBytes(directory)
      if (free !== undefined && offer.sizeBytes + SPARE_BYTES > free) {
        return await this.#refuse(files, offer, 'too-large', `only ${formatBytes(free)} are free`)
      }
      return offer
    } catch (error) {
      const { reason, message } = describeFailure(error)
      const text = `An offer of ${peerLabel(files.peer, output.style)} came to nothing: ${printable(message)}`
      if (!interrupts.signal.aborted) output.remark('offer-failed', { peer: files.peer.id, reason, message }, text)
      return undefined
    }
  }

  async #refuse(
    files: FileChannel,
    offer: OfferedFile,
    refusal: 'declined' | 'too-large',
    why: string,
  ): Promise<undefined> {
    const { output } = this.#context
    const text = `Refused ${describe(offer)} from ${peerLabel(files.peer, output.style)}: ${why}`
    output.remark('refused', { ...offerFields(files, offer), refusal }, text)
    await refuseOffer(files, refusal)
  }

  /** Whether the user wants the file; otherwise the sender has been told, or has gone. */
  async #isWelcome(files: FileChannel, offer: OfferedFile): Promise<boolean> {
    const { output, interrupts } = this.#context
    const who = peerLabel(files.peer, output.style)
    output.event('offer', offerFields(files, offer), this.#rules.yes ? `${who} sends ${describe(offer)}` : undefined)
    if (this.#rules.yes) return true
    try {
      if (await this.#ask(files, `${who} wants to send ${describe(offer)}. Accept? [y/N] `)) return true
      await this.#refuse(files, offer, 'declined', 'you said no')
    } catch (error) {
      files.abort(error)
      if (!interrupts.signal.aborted) output.remark('withdrawn', { peer: files.peer.id }, '\nThe offer was withdrawn.')
    }
    return false
  }

  /** Rejects when the sender withdraws the offer. */
  async #ask(files: FileChannel, question: string): Promise<boolean> {
    const { stdin, stdout, interrupts } = this.#context
    const withdrawn = new AbortController()
    void files.closed.then((error) => {
      withdrawn.abort(error ?? new MeshError(ErrorReason.CHANNEL_CLOSED, 'the sender ended the transfer'))
    })
    const signal = AbortSignal.any([interrupts.signal, withdrawn.signal])
    return confirm(question, { stdin, stdout, signal, onInterrupt: () => interrupts.trigger('SIGINT') })
  }

  async #receive(files: FileChannel, offer: OfferedFile): Promise<void> {
    const { output, interrupts } = this.#context
    const file = await IncomingFile.create(this.#rules.directory, offer.name)
    const progress = new ProgressDisplay(output, systemClock, safeFileName(offer.name), offer.sizeBytes)
    try {
      const onProgress = (bytes: number): void => progress.advance(bytes)
      const received = await receiveContent(files, offer, file, { signal: interrupts.signal, onProgress })
      progress.stop()
      this.#received++
      const { elapsedMs } = progress
      const { good, dim, bold } = output.style
      const sha256 = toHex(received.sha256)
      const speed = `${formatBytes(offer.sizeBytes)} in ${formatDuration(elapsedMs)}, ${formatRate(offer.sizeBytes, elapsedMs)}`
      output.event(
        'received',
        {
          peer: files.peer.id,
          file: received.place,
          sizeBytes: offer.sizeBytes,
          sha256,
          elapsedMs: Math.round(elapsedMs),
        },
        `${good('✓')} ${bold(received.place)} (${speed})\n  ${dim('sha256')} ${sha256}`,
      )
    } finally {
      progress.stop()
    }
  }

  #onFailure(files: FileChannel, error: unknown, keepOn: boolean): void {
    files.abort(error)
    if (this.#context.interrupts.signal.aborted) return
    const gaveUp = error instanceof MeshError && error.reason === ErrorReason.ABORTED
    this.#failure = gaveUp ? new CommandError('ABORTED', 'the sender gave up', { cause: error }) : error
    if (!keepOn) return
    const { output } = this.#context
    const { reason, message } = describeFailure(error)
    output.warning(
      'failed',
      { peer: files.peer.id, reason, message },
      `From ${shortPeerId(files.peer.id)}: ${printable(message)}`,
    )
  }
}

function offerFields({ peer }: FileChannel, { name, sizeBytes, mediaType }: OfferedFile) {
  return { peer: peer.id, name, sizeBytes, mediaType }
}

/** "photo.jpg (5.0 MiB, image/jpeg)". */
function describe({ name, sizeBytes, mediaType }: OfferedFile): string {
  const kind = mediaType === '' ? '' : `, ${printable(mediaType)}`
  return `${printable(name)} (${formatBytes(sizeBytes)}${kind})`
}
