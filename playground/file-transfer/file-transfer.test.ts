import { createHash, randomBytes } from 'node:crypto'
import { type Channel, ErrorReason, join, type MeshError, type Peer, type Swarm } from '@mesh/client'
import { memoryNetwork } from '@mesh/client/testing'
import { FileOutcome, FileVerdict } from '@mesh/protocol/mesh/app/v1/file_pb'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FILE_CHANNEL_NAME, type FileBody, FileChannel } from './file-channel.ts'
import { offeredName, safeName } from './file-name.ts'
import { type FileOffer, type FileSink, receiveOffer } from './receive-file.ts'
import { type FileSource, type SendFileOptions, sendFile } from './send-file.ts'

let sender: Swarm
let receiver: Swarm
let toReceiver: Peer

beforeAll(async () => {
  const { platform, server } = await memoryNetwork()
  const options = { servers: server, party: 'files', identity: 'ephemeral', platform, rtc: null }
  receiver = await join(options)
  sender = await join(options)
  toReceiver = sender.peers.get(receiver.id) ?? (await sender.once('join'))
})

afterAll(async () => {
  await Promise.all([sender.close(), receiver.close()])
})

function source(bytes: Uint8Array, size = bytes.length): FileSource {
  return {
    name: 'a.bin',
    size,
    type: 'text/plain',
    stream: () => new Blob([bytes as Uint8Array<ArrayBuffer>]).stream(),
  }
}

function memorySink(): FileSink & { readonly bytes: () => Buffer; finished: boolean } {
  const chunks: Uint8Array[] = []
  const sink = {
    finished: false,
    bytes: () => Buffer.concat(chunks),
    write: (chunk: Uint8Array) => void chunks.push(chunk),
    finish: () => {
      sink.finished = true
    },
  }
  return sink
}

/** Both ends of a channel for one file. */
async function ends(): Promise<[Channel, Channel]> {
  const opened = receiver.once('channel')
  const channel = await toReceiver.open(FILE_CHANNEL_NAME, { kind: 'messages' })
  return [channel, await opened]
}

async function transfer(file: FileSource, take: (offer: FileOffer) => Promise<unknown>, options?: SendFileOptions) {
  const [mine, theirs] = await ends()
  const taken = receiveOffer(theirs).then(take)
  const [sent, received] = await Promise.allSettled([sendFile(mine, file, options), taken])
  return { sent, received }
}

const fulfilled = (value: unknown) => ({ status: 'fulfilled', value })
const rejected = (reason: ErrorReason) => ({ status: 'rejected', reason: expect.objectContaining({ reason }) })

describe('a file', () => {
  test.each([0, 1, 65_536, 65_537, 1_500_000])(
    'of %i bytes arrives whole, with its checksum on both sides',
    async (size) => {
      const bytes = randomBytes(size)
      const checksum = createHash('sha256').update(bytes).digest('hex')
      const sink = memorySink()
      const progress = { sent: 0, received: 0 }
      const { sent, received } = await transfer(
        source(bytes),
        (offer) => {
          expect(offer).toMatchObject({ name: 'a.bin', sizeBytes: size, mediaType: 'text/plain' })
          return offer.accept(sink, { onProgress: (moved) => (progress.received = moved) })
        },
        { onProgress: (moved) => (progress.sent = moved) },
      )
      expect(sent).toEqual(fulfilled({ kind: 'stored', checksum }))
      expect(received).toEqual(fulfilled({ kind: 'stored', checksum }))
      expect(sink.bytes().equals(bytes)).toBe(true)
      expect(progress).toEqual({ sent: size, received: size })
    },
  )

  test.each(['declined', 'too-large', 'busy'] as const)('that is %s tells the sender so', async (why) => {
    const { sent } = await transfer(source(randomBytes(10)), (offer) => offer.refuse(why))
    expect(sent).toEqual(fulfilled({ kind: 'refused', why }))
  })

  test('the receiver cannot keep is reported to the sender', async () => {
    const full = { write: () => Promise.reject(new Error('disk full')), finish: () => {} }
    const { sent, received } = await transfer(source(randomBytes(200_000)), (offer) => offer.accept(full))
    expect(sent).toEqual(fulfilled({ kind: 'not-stored', why: 'storage' }))
    expect(received).toEqual(fulfilled({ kind: 'not-stored', why: 'storage' }))
  })

  test.each([
    ['shorter', 90_000],
    ['longer', 110_000],
  ])('that became %s while it was read is given up', async (_, actual) => {
    const sink = memorySink()
    const { sent, received } = await transfer(source(randomBytes(actual), 100_000), (offer) => offer.accept(sink))
    expect(sent).toEqual(rejected(ErrorReason.INVALID_ARGUMENT))
    expect(received).toEqual(rejected(ErrorReason.INVALID_ARGUMENT))
    expect(sink.finished).toBe(false)
  })

  test('the sender calls off before the answer is withdrawn', async () => {
    const abort = new AbortController()
    const { sent, received } = await transfer(
      source(randomBytes(10)),
      async (offer) => {
        abort.abort()
        return (await offer.closed)?.reason
      },
      { signal: abort.signal },
    )
    expect(sent).toEqual(rejected(ErrorReason.ABORTED))
    expect(received).toEqual(fulfilled(ErrorReason.ABORTED))
  })

  test('the receiver calls off half way ends on both sides', async () => {
    const abort = new AbortController()
    const sink = memorySink()
    const { sent, received } = await transfer(source(randomBytes(1_000_000)), (offer) =>
      offer.accept(sink, { signal: abort.signal, onProgress: () => abort.abort() }),
    )
    expect(sent).toEqual(rejected(ErrorReason.ABORTED))
    expect(received).toEqual(rejected(ErrorReason.ABORTED))
    expect(sink.finished).toBe(false)
  })
})

describe('a sender that lies', () => {
  const offer = (fields: { name?: string; sizeBytes?: bigint; mediaType?: string } = {}): FileBody => {
    const value = { name: 'a', sizeBytes: 3n, mediaType: '', ...fields }
    return { case: 'offer', value: { $typeName: 'mesh.app.v1.FileOffer', ...value } }
  }
  const end = (sha256: Uint8Array): FileBody => ({ case: 'end', value: { $typeName: 'mesh.app.v1.FileEnd', sha256 } })
  const chunk = (length: number): FileBody => ({ case: 'chunk', value: new Uint8Array(length) })
  const zeros = createHash('sha256').update(new Uint8Array(3)).digest()

  /** Sends the messages whatever is answered, and returns what the receiver made of them. */
  async function receive(...bodies: FileBody[]) {
    const [mine, theirs] = await ends()
    const file = new FileChannel(mine)
    const sink = memorySink()
    const received = receiveOffer(theirs).then((made) => made.accept(sink))
    // A reset on the way is one of the right answers.
    const sent = (async () => {
      for (const body of bodies) await file.send(body)
    })().catch(() => {})
    const [result] = await Promise.allSettled([received, sent])
    return { result, sink, file }
  }

  test('about the contents is told so', async () => {
    const { result, sink, file } = await receive(offer(), chunk(3), end(new Uint8Array(32)))
    expect(result).toEqual(fulfilled({ kind: 'not-stored', why: 'checksum' }))
    expect(sink.finished).toBe(false)
    expect((await file.expect('answer')).verdict).toBe(FileVerdict.ACCEPTED)
    expect((await file.expect('result')).outcome).toBe(FileOutcome.CHECKSUM_MISMATCH)
  })

  test('about the size, with less, is told so', async () => {
    const { result } = await receive(offer({ sizeBytes: 4n }), chunk(3), end(zeros))
    expect(result).toEqual(fulfilled({ kind: 'not-stored', why: 'size' }))
  })

  test.each([
    ['sends more than it offered', [offer(), chunk(4)]],
    ['sends an empty chunk', [offer(), chunk(0)]],
    ['sends a chunk that is too long', [offer({ sizeBytes: 100_000n }), chunk(65_537)]],
    ['sends a checksum of another length', [offer(), chunk(3), end(new Uint8Array(20))]],
    ['offers twice', [offer(), offer()]],
    ['begins without an offer', [chunk(3)]],
    ['offers a file without a name', [offer({ name: '' })]],
    ['offers a name without end', [offer({ name: 'x'.repeat(256) })]],
    ['offers more bytes than a number holds', [offer({ sizeBytes: 2n ** 53n })]],
    ['offers a media type without end', [offer({ mediaType: 'x'.repeat(128) })]],
  ])('and %s is cut off', async (_, bodies) => {
    const { result, sink, file } = await receive(...bodies)
    expect(result).toEqual(rejected(ErrorReason.INVALID_ARGUMENT))
    expect(sink.finished).toBe(false)
    expect((await file.closed)?.reason).toBe(ErrorReason.INVALID_ARGUMENT)
  })

  test('and sends what is no message is cut off', async () => {
    const [mine, theirs] = await ends()
    const received = receiveOffer(theirs).catch((error: MeshError) => error.reason)
    await mine.writable.getWriter().write(Uint8Array.of(0xff, 0xff, 0xff))
    expect(await received).toBe(ErrorReason.INVALID_ARGUMENT)
  })
})

describe('the name of a file', () => {
  test.each([
    ['photo.jpg', 'photo.jpg'],
    ['/home/ada/photo.jpg', 'photo.jpg'],
    ['C:\\photos\\photo.jpg', 'photo.jpg'],
    ['', 'file'],
  ])('"%s" is offered as "%s"', (name, offered) => {
    expect(offeredName(name)).toBe(offered)
  })

  test('is cut to 255 bytes between characters, and keeps its extension', () => {
    const name = offeredName(`${'\u{1F9A6}'.repeat(100)}.jpeg`)
    expect(name).toBe(`${'\u{1F9A6}'.repeat(62)}.jpeg`)
  })

  test.each([
    ['../../etc/passwd', 'passwd'],
    ['..', 'file'],
    ['.bashrc', 'bashrc'],
    ['a\u202Egpj.exe', 'agpj.exe'],
    ['a\u0000b', 'ab'],
  ])('"%s" is received as "%s"', (name, safe) => {
    expect(safeName(name)).toBe(safe)
  })
})
