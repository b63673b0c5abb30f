import { createHash } from 'node:crypto'
import { create, toBinary } from '@bufbuild/protobuf'
import type { Channel } from '@mesh/client'
import { ErrorReason, VirtualClock } from '@mesh/core'
import { FileMessageSchema, FileVerdict } from '@mesh/protocol/mesh/app/v1/file_pb'
import { beforeEach, describe, expect, test } from 'vitest'
import { Interrupted } from '../failure.ts'
import { channelPair } from './channel-pair.fixture.ts'
import { FileChannel } from './file-channel.ts'
import { type FileSink, receiveContent, receiveOffer, refuseOffer } from './receive-file.ts'
import { type FileSource, offerFile, sendContent } from './send-file.ts'

const never = new AbortController().signal
const patience = { timeoutMs: 1_000, signal: never }
const quiet = { signal: never, onProgress: () => {} }

let clock: VirtualClock
let ends: [Channel, Channel]
let sender: FileChannel
let receiver: FileChannel

beforeEach(() => {
  clock = new VirtualClock()
  ends = channelPair('mesh/file')
  sender = new FileChannel(ends[0], clock)
  receiver = new FileChannel(ends[1], clock)
})

function source(...parts: Uint8Array[]): FileSource {
  const sizeBytes = parts.reduce((sum, part) => sum + part.length, 0)
  return {
    name: 'photo.jpg',
    sizeBytes,
    async *chunks() {
      yield* parts
    },
  }
}

/** Keeps what was written in memory. */
class MemorySink implements FileSink {
  readonly written: Uint8Array[] = []
  kept = false
  discarded = false
  fault: Error | undefined

  async write(chunk: Uint8Array): Promise<void> {
    this.written.push(chunk.slice())
  }

  async keep(): Promise<string> {
    if (this.fault) throw this.fault
    this.kept = true
    return 'memory'
  }

  async discard(): Promise<void> {
    this.discarded = true
  }
}

const patterned = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => (index * 31) % 251)

async function transfer(file: FileSource, sink: FileSink) {
  const receiving = receiveOffer(receiver, patience).then((offer) => receiveContent(receiver, offer, sink, quiet))
  const sending = offerFile(sender, file, patience).then((verdict) => {
    expect(verdict).toBe(FileVerdict.ACCEPTED)
    return sendContent(sender, file, quiet)
  })
  return Promise.allSettled([sending, receiving])
}

describe('a transfer', () => {
  test.each([
    ['an empty file', []],
    ['one byte', [1]],
    ['exactly one chunk', [65_536]],
    ['parts of any size', [10, 200_000, 65_537, 1]],
  ])('brings %s and confirms its checksum', async (_, lengths) => {
    const parts = lengths.map(patterned)
    const sink = new MemorySink()
    const [sent, received] = await transfer(source(...parts), sink)
    const content = Buffer.concat(parts)
    const sha256 = new Uint8Array(createHash('sha256').update(content).digest())
    expect(sent).toEqual({ status: 'fulfilled', value: sha256 })
    expect(received).toEqual({ status: 'fulfilled', value: { place: 'memory', sha256 } })
    expect(Buffer.concat(sink.written).equals(content)).toBe(true)
    expect(sink.kept).toBe(true)
    expect(await ends[0].closed).toBeUndefined()
  })

  test('tells both sides about every byte', async () => {
    const file = source(patterned(100_000))
    const counts = { sent: 0, received: 0 }
    const receiving = receiveOffer(receiver, patience).then((offer) =>
      receiveContent(receiver, offer, new MemorySink(), {
        signal: never,
        onProgress: (bytes) => (counts.received += bytes),
      }),
    )
    await offerFile(sender, file, patience)
    await sendContent(sender, file, { signal: never, onProgress: (bytes) => (counts.sent += bytes) })
    await receiving
    expect(counts).toEqual({ sent: 100_000, received: 100_000 })
  })

  test('is refused politely', async () => {
    const answer = offerFile(sender, source(patterned(10)), patience)
    expect(await receiveOffer(receiver, patience)).toEqual({ name: 'photo.jpg', sizeBytes: 10, mediaType: '' })
    await refuseOffer(receiver, 'too-large')
    expect(await answer).toBe(FileVerdict.TOO_LARGE)
  })

  test('fails on both sides and keeps nothing when the disk refuses', async () => {
    const sink = new MemorySink()
    sink.fault = new Error('disk full')
    const [sent, received] = await transfer(source(patterned(10)), sink)
    expect(sent).toMatchObject({ status: 'rejected', reason: { reason: 'NOT_STORED' } })
    expect(received).toMatchObject({ status: 'rejected', reason: { reason: 'NOT_STORED' } })
    expect(sink.discarded).toBe(true)
  })

  test.each([
    ['grew', 9],
    ['shrank', 11],
  ])('ends on both sides when the file %s meanwhile', async (_, sizeBytes) => {
    const sink = new MemorySink()
    const [sent, received] = await transfer({ ...source(patterned(10)), sizeBytes }, sink)
    expect(sent).toMatchObject({ status: 'rejected', reason: { message: 'photo.jpg changed while it was sent' } })
    expect(received.status).toBe('rejected')
    expect([sink.kept, sink.discarded]).toEqual([false, true])
  })

  test('ends on both sides when its user gives up', async () => {
    const file = source(patterned(10))
    const reason = new Interrupted('SIGINT')
    const sink = new MemorySink()
    const receiving = receiveOffer(receiver, patience).then((offer) => receiveContent(receiver, offer, sink, quiet))
    await offerFile(sender, file, patience)
    const sending = sendContent(sender, file, { signal: AbortSignal.abort(reason), onProgress: () => {} })
    await expect(sending).rejects.toBe(reason)
    await expect(receiving).rejects.toMatchObject({ reason: ErrorReason.ABORTED })
    expect(sink.discarded).toBe(true)
  })
})

describe('a receiver', () => {
  const begin = async (sink: FileSink, sizeBytes: number) => {
    await sender.send({ case: 'offer', value: { name: 'x', sizeBytes: BigInt(sizeBytes) } })
    const offer = await receiveOffer(receiver, patience)
    const receiving = receiveContent(receiver, offer, sink, quiet)
    await sender.receive(['answer'], patience)
    return Promise.allSettled([receiving])
  }

  test.each([
    ['another checksum', 4, 'CHECKSUM_MISMATCH', 3],
    ['fewer bytes', 5, 'SIZE_MISMATCH', 2],
  ])('keeps nothing of a file with %s, and says so', async (_, sizeBytes, reason, outcome) => {
    const sink = new MemorySink()
    const settled = begin(sink, sizeBytes)
    await clock.advance(0)
    await sender.send({ case: 'chunk', value: patterned(4) })
    await sender.send({ case: 'end', value: { sha256: new Uint8Array(32) } })
    const result = await sender.receive(['result'], patience)
    expect(result.value.outcome).toBe(outcome)
    const [received] = await settled
    expect(received).toMatchObject({ status: 'rejected', reason: { reason } })
    expect([sink.kept, sink.discarded]).toEqual([false, true])
  })

  test('stops a sender that sends more than it offered', async () => {
    const sink = new MemorySink()
    const settled = begin(sink, 4)
    await clock.advance(0)
    await sender.send({ case: 'chunk', value: patterned(4) })
    await sender.send({ case: 'chunk', value: patterned(1) })
    const [received] = await settled
    expect(received).toMatchObject({ status: 'rejected', reason: { message: /more bytes came than the 4/ } })
    expect(Buffer.concat(sink.written).length).toBe(4)
    expect(await ends[0].closed).toBeDefined()
  })
})

describe('a file channel', () => {
  const write = (body: Parameters<FileChannel['send']>[0]) => sender.send(body)

  test.each([
    ['an empty name', { case: 'offer', value: { name: '', sizeBytes: 1n } }, /name has 0 bytes/],
    ['a long name', { case: 'offer', value: { name: 'ü'.repeat(128), sizeBytes: 1n } }, /name has 256 bytes/],
    ['a size beyond counting', { case: 'offer', value: { name: 'x', sizeBytes: 2n ** 53n } }, /above 2\^53/],
    ['a long media type', { case: 'offer', value: { name: 'x', mediaType: 'y'.repeat(128) } }, /media type has 128/],
    ['an empty chunk', { case: 'chunk', value: new Uint8Array(0) }, /chunk has 0 bytes/],
    ['a large chunk', { case: 'chunk', value: new Uint8Array(65_537) }, /chunk has 65537 bytes/],
    ['a larger message', { case: 'chunk', value: new Uint8Array(70_000) }, /a message has 7\d+ bytes, at most 66560/],
    ['a short checksum', { case: 'end', value: { sha256: new Uint8Array(31) } }, /checksum has 31 bytes/],
    [
      'a message out of turn',
      { case: 'result', value: { outcome: 1 } },
      /expected offer or chunk or end, but got result/,
    ],
  ] as const)('refuses %s and ends', async (_, body, message) => {
    await write(body)
    await expect(receiver.receive(['offer', 'chunk', 'end'], patience)).rejects.toThrow(message)
    expect(await ends[0].closed).toBeDefined()
  })

  test.each([
    ['bytes that are no message', Uint8Array.of(0xff, 0xff)],
    ['a message that says nothing', toBinary(FileMessageSchema, create(FileMessageSchema))],
  ])('refuses %s and ends', async (_, bytes) => {
    const [left, right] = channelPair('mesh/file')
    await left.writable.getWriter().write(bytes)
    await expect(new FileChannel(right, clock).receive(['offer'], patience)).rejects.toThrow(
      /not a file transfer|FileMessage/,
    )
    expect(await left.closed).toBeDefined()
  })

  test('waits only as long as it is told', async () => {
    const waiting = receiver.receive(['offer'], patience)
    const refused = expect(waiting).rejects.toThrow('the other side said nothing for 1 s')
    await clock.advance(1_000)
    await refused
    expect(clock.pending).toBe(0)
  })

  test('tells the other side nothing of this machine when it fails', async () => {
    receiver.abort(new Error("EACCES: permission denied, open '/home/ada/secret'"))
    expect((await ends[0].closed)?.message).toBe('the other side failed')
  })

  test('says when the other side ended early', async () => {
    await sender.finish()
    await expect(receiver.receive(['offer'], patience)).rejects.toThrow('ended the transfer early')
  })
})
