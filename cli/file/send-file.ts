import { createHash } from 'node:crypto'
import { ErrorReason, MeshError } from '@mesh/core'
import { FileOutcome, type FileVerdict } from '@mesh/protocol/mesh/app/v1/file_pb'
import { CommandError } from '../failure.ts'
import { type FileChannel, MAX_CHUNK_BYTES, type WaitOptions } from './file-channel.ts'

/** A file to send. */
export interface FileSource {
  /** Last part of its path, at most 255 bytes. */
  readonly name: string
  readonly sizeBytes: number
  /** Its bytes from the start, each time anew. */
  chunks(signal: AbortSignal): AsyncIterable<Uint8Array>
}

/** How long the receiver may take to write down what was sent. */
const RESULT_TIMEOUT_MS = 60_000

/** Reason and message for each way in which a file that was sent is not there. */
const FAULTS: Partial<Record<FileOutcome, readonly [reason: string, message: string]>> = {
  [FileOutcome.SIZE_MISMATCH]: ['SIZE_MISMATCH', 'fewer bytes arrived than were sent'],
  [FileOutcome.CHECKSUM_MISMATCH]: ['CHECKSUM_MISMATCH', 'something else arrived: the checksum differs'],
  [FileOutcome.NOT_STORED]: ['NOT_STORED', 'the receiver could not write the file'],
}

/** Offers the file and waits for the answer of the receiver's user. Rejects as FileChannel.receive does. */
export async function offerFile(channel: FileChannel, file: FileSource, options: WaitOptions): Promise<FileVerdict> {
  await channel.send({ case: 'offer', value: { name: file.name, sizeBytes: BigInt(file.sizeBytes) } })
  const answer = await channel.receive(['answer'], options)
  return answer.value.verdict
}

/**
 * Sends an accepted file. Resolves with its SHA-256 (32 bytes) when the receiver has confirmed it. Rejects with a CommandError
 * saying what the receiver has instead, with the signal's reason, with INVALID_ARGUMENT when the file has another size than
 * it was offered with, with the file system's error, or with why the channel ended.
 *
 * `onProgress` hears of every chunk's bytes once they are on their way.
 */
export async function sendContent(
  channel: FileChannel,
  file: FileSource,
  options: { readonly signal: AbortSignal; readonly onProgress: (bytes: number) => void },
): Promise<Uint8Array> {
  const { signal, onProgress } = options
  try {
    const hash = createHash('sha256')
    let sentBytes = 0
    for await (const part of file.chunks(signal)) {
      for (const chunk of pieces(part)) {
        signal.throwIfAborted()
        sentBytes += chunk.length
        if (sentBytes > file.sizeBytes) throw changed(file)
        hash.update(chunk)
        await channel.send({ case: 'chunk', value: chunk })
        onProgress(chunk.length)
      }
    }
    if (sentBytes !== file.sizeBytes) throw changed(file)
    const sha256 = new Uint8Array(hash.digest())
    await channel.send({ case: 'end', value: { sha256 } })
    const result = await channel.receive(['result'], { timeoutMs: RESULT_TIMEOUT_MS, signal })
    await channel.finish()
    checkOutcome(result.value.outcome)
    return sha256
  } catch (error) {
    channel.abort(error)
    throw error
  }
}

function checkOutcome(outcome: FileOutcome): void {
  if (outcome === FileOutcome.STORED) return
  const [reason, message] = FAULTS[outcome] ?? [
    'NOT_STORED',
    `the receiver answered with the unknown outcome ${outcome}`,
  ]
  throw new CommandError(reason, message)
}

function* pieces(part: Uint8Array): Iterable<Uint8Array> {
  for (let start = 0; start < part.length; start += MAX_CHUNK_BYTES) yield part.subarray(start, start + MAX_CHUNK_BYTES)
}

function changed({ name }: FileSource): MeshError {
  return new MeshError(ErrorReason.INVALID_ARGUMENT, `${name} changed while it was sent`)
}
