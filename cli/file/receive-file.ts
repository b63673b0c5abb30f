import { createHash } from 'node:crypto'
import { ErrorReason, equalBytes, MeshError } from '@mesh/core'
import { FileOutcome, FileVerdict } from '@mesh/protocol/mesh/app/v1/file_pb'
import { CommandError } from '../failure.ts'
import type { FileChannel, WaitOptions } from './file-channel.ts'

/** What somebody wants to send. */
export interface OfferedFile {
  /** As the sender calls it: a suggestion, never a path. */
  readonly name: string
  readonly sizeBytes: number
  /** Media type; empty when not known. */
  readonly mediaType: string
}

/** Where a file is put. */
export interface FileSink {
  write(chunk: Uint8Array): Promise<void>
  /** Everything was written and is right: keep it. Resolves with where it is. */
  keep(): Promise<string>
  /** Keep nothing. Idempotent. */
  discard(): Promise<void>
}

export interface ReceivedFile {
  readonly place: string
  /** SHA-256 of what was written and of what the sender read, 32 bytes. */
  readonly sha256: Uint8Array
}

/** Why an offer is refused. */
export type Refusal = 'declined' | 'too-large' | 'busy'

const VERDICTS: Readonly<Record<Refusal, FileVerdict>> = {
  declined: FileVerdict.DECLINED,
  'too-large': FileVerdict.TOO_LARGE,
  busy: FileVerdict.BUSY,
}

/** A sender that is connected but silent for this long has gone wrong. */
const CHUNK_TIMEOUT_MS = 60_000

/** The offer that every file begins with. Rejects as FileChannel.receive does. */
export async function receiveOffer(channel: FileChannel, options: WaitOptions): Promise<OfferedFile> {
  const { value } = await channel.receive(['offer'], options)
  return { name: value.name, sizeBytes: Number(value.sizeBytes), mediaType: value.mediaType }
}

/** Answers an offer with no, and ends the channel. Never rejects: a sender that has gone needs no answer. */
export async function refuseOffer(channel: FileChannel, refusal: Refusal): Promise<void> {
  try {
    await channel.send({ case: 'answer', value: { verdict: VERDICTS[refusal] } })
    await channel.finish()
  } catch {
    channel.abort(new MeshError(ErrorReason.ABORTED, 'the offer was refused'))
  }
}

/**
 * Accepts an offer and receives the file: writes, hashes, compares, tells the sender, and keeps only what is right.
 * Rejects, having kept nothing, with a CommandError (SIZE_MISMATCH, CHECKSUM_MISMATCH, NOT_STORED), with the signal's reason,
 * the sink's error, or why the channel ended.
 *
 * `onProgress` hears of every chunk's bytes once they are written.
 */
export async function receiveContent(
  channel: FileChannel,
  offer: OfferedFile,
  sink: FileSink,
  options: { readonly signal: AbortSignal; readonly onProgress: (bytes: number) => void },
): Promise<ReceivedFile> {
  try {
    await channel.send({ case: 'answer', value: { verdict: FileVerdict.ACCEPTED } })
    const content = await readContent(channel, offer, sink, options)
    const received = await settle(channel, content, offer, sink)
    // The file is here, whether the sender still hears of it or not.
    await report(channel, FileOutcome.STORED).catch(() => undefined)
    return received
  } catch (error) {
    channel.abort(error)
    await sink.discard()
    throw error
  }
}

interface Content {
  readonly receivedBytes: number
  /** SHA-256 of what was written. */
  readonly sha256: Uint8Array
  /** SHA-256 of what the sender read. */
  readonly expectedSha256: Uint8Array
}

async function readContent(
  channel: FileChannel,
  offer: OfferedFile,
  sink: FileSink,
  { signal, onProgress }: { readonly signal: AbortSignal; readonly onProgress: (bytes: number) => void },
): Promise<Content> {
  const hash = createHash('sha256')
  let receivedBytes = 0
  for (;;) {
    const body = await channel.receive(['chunk', 'end'], { timeoutMs: CHUNK_TIMEOUT_MS, signal })
    if (body.case === 'end') {
      return { receivedBytes, sha256: new Uint8Array(hash.digest()), expectedSha256: body.value.sha256 }
    }
    receivedBytes += body.value.length
    if (receivedBytes > offer.sizeBytes) {
      throw new MeshError(ErrorReason.INVALID_ARGUMENT, `more bytes came than the ${offer.sizeBytes} that were offered`)
    }
    hash.update(body.value)
    await sink.write(body.value)
    onProgress(body.value.length)
  }
}

async function settle(
  channel: FileChannel,
  content: Content,
  offer: OfferedFile,
  sink: FileSink,
): Promise<ReceivedFile> {
  const { receivedBytes, sha256, expectedSha256 } = content
  if (receivedBytes !== offer.sizeBytes) {
    await report(channel, FileOutcome.SIZE_MISMATCH)
    throw new CommandError('SIZE_MISMATCH', `${receivedBytes} bytes came of the ${offer.sizeBytes} that were offered`)
  }
  if (!equalBytes(sha256, expectedSha256)) {
    await report(channel, FileOutcome.CHECKSUM_MISMATCH)
    throw new CommandError('CHECKSUM_MISMATCH', 'what came is not what was sent: the SHA-256 checksum differs')
  }
  try {
    return { place: await sink.keep(), sha256 }
  } catch (cause) {
    await report(channel, FileOutcome.NOT_STORED)
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new CommandError('NOT_STORED', `the file could not be written: ${why}`, { cause })
  }
}

async function report(channel: FileChannel, outcome: FileOutcome): Promise<void> {
  await channel.send({ case: 'result', value: { outcome } })
  await channel.finish()
}
