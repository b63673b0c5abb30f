import { type Channel, ErrorReason, MeshError } from '@mesh/client'
import { FileOutcome, FileVerdict } from '@mesh/protocol/mesh/app/v1/file_pb'
import { sha256 } from '@noble/hashes/sha2.js'
import { toHex } from './checksum.ts'
import { FileChannel, MAX_CHUNK_BYTES, MAX_MEDIA_TYPE_BYTES } from './file-channel.ts'
import { offeredName } from './file-name.ts'

/** A file as it is read: a browser's `File` is one. */
export interface FileSource {
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** Media type; empty when not known. */
  readonly type: string
  stream(): ReadableStream<Uint8Array>
}

export interface SendFileOptions {
  /** The receiver said yes. */
  readonly onAccepted?: () => void
  /** Bytes handed to the link so far. */
  readonly onProgress?: (sentBytes: number) => void
  /** Called off: the receiver sees ABORTED. */
  readonly signal?: AbortSignal
}

export type SendFileResult =
  /** The receiver has it, and its checksum (SHA-256, hex) is the one computed here. */
  | { readonly kind: 'stored'; readonly checksum: string }
  | { readonly kind: 'refused'; readonly why: 'declined' | 'too-large' | 'busy' }
  | { readonly kind: 'not-stored'; readonly why: 'size' | 'checksum' | 'storage' }

/** How long the person on the other side may think about it. */
const ANSWER_TIMEOUT_MS = 120_000

/**
 * Sends one file over a channel opened for it. Rejects with ABORTED, DEADLINE_EXCEEDED (no answer in two minutes),
 * INVALID_ARGUMENT (the other side broke the protocol, or the file changed while it was read) or why the channel failed.
 */
export async function sendFile(
  channel: Channel,
  source: FileSource,
  options: SendFileOptions = {},
): Promise<SendFileResult> {
  const file = new FileChannel(channel)
  const stop = giveUpOn(file, options.signal)
  try {
    options.signal?.throwIfAborted()
    return await converse(file, source, options)
  } catch (cause) {
    const error = options.signal?.aborted ? aborted() : MeshError.from(cause)
    file.abort(error)
    throw error
  } finally {
    stop()
  }
}

async function converse(file: FileChannel, source: FileSource, options: SendFileOptions): Promise<SendFileResult> {
  const value = {
    $typeName: 'mesh.app.v1.FileOffer' as const,
    name: offeredName(source.name),
    sizeBytes: BigInt(source.size),
    mediaType: source.type.length <= MAX_MEDIA_TYPE_BYTES ? source.type : '',
  }
  await file.send({ case: 'offer', value })
  const { verdict } = await answerInTime(file)
  if (verdict !== FileVerdict.ACCEPTED) {
    await file.end()
    return { kind: 'refused', why: refusal(verdict) }
  }
  options.onAccepted?.()
  const digest = await sendChunks(file, source, options)
  await file.send({ case: 'end', value: { $typeName: 'mesh.app.v1.FileEnd', sha256: digest } })
  const { outcome } = await file.expect('result')
  await file.end()
  return outcome === FileOutcome.STORED
    ? { kind: 'stored', checksum: toHex(digest) }
    : { kind: 'not-stored', why: failure(outcome) }
}

/** Sends the contents, and returns their SHA-256. */
async function sendChunks(file: FileChannel, source: FileSource, options: SendFileOptions): Promise<Uint8Array> {
  const hash = sha256.create()
  let sentBytes = 0
  for await (const bytes of chunks(source.stream())) {
    sentBytes += bytes.length
    if (sentBytes > source.size) break
    hash.update(bytes)
    await file.send({ case: 'chunk', value: bytes })
    options.onProgress?.(sentBytes)
  }
  if (sentBytes === source.size) return hash.digest()
  throw new MeshError(ErrorReason.INVALID_ARGUMENT, `"${source.name}" changed while it was sent`)
}

async function* chunks(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = stream.getReader()
  try {
    for (;;) {
      const { value, done } = await reader.read()
      if (done) return
      for (let at = 0; at < value.length; at += MAX_CHUNK_BYTES) yield value.subarray(at, at + MAX_CHUNK_BYTES)
    }
  } finally {
    // After the end this does nothing; before it, the file is closed.
    await reader.cancel().catch(() => {})
  }
}

async function answerInTime(file: FileChannel): Promise<{ readonly verdict: FileVerdict }> {
  const late = new MeshError(ErrorReason.DEADLINE_EXCEEDED, 'no answer within two minutes', { retryable: true })
  const timer = setTimeout(() => file.abort(late), ANSWER_TIMEOUT_MS)
  try {
    return await file.expect('answer')
  } finally {
    clearTimeout(timer)
  }
}

function giveUpOn(file: FileChannel, signal: AbortSignal | undefined): () => void {
  const abort = () => file.abort(aborted())
  signal?.addEventListener('abort', abort)
  return () => signal?.removeEventListener('abort', abort)
}

function aborted(): MeshError {
  return new MeshError(ErrorReason.ABORTED, 'the transfer was called off')
}

function refusal(verdict: FileVerdict): 'declined' | 'too-large' | 'busy' {
  if (verdict === FileVerdict.TOO_LARGE) return 'too-large'
  return verdict === FileVerdict.BUSY ? 'busy' : 'declined'
}

function failure(outcome: FileOutcome): 'size' | 'checksum' | 'storage' {
  if (outcome === FileOutcome.SIZE_MISMATCH) return 'size'
  return outcome === FileOutcome.CHECKSUM_MISMATCH ? 'checksum' : 'storage'
}
