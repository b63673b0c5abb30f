/**
 * SCTP packets and chunks (RFC 9260 section 3), read strictly. `sctp-packet-writer.ts` makes packets of chunks.
 *
 * werift's parser trusts every length and count in a packet: a chunk or parameter of length zero loops for ever, a count larger
 * than the packet throws where nobody catches, an unknown chunk type discards the packet. Here a packet with any malformed
 * chunk is dropped whole; chunk types nobody knows are skipped.
 */
export const DATA = 0
export const INIT = 1
export const INIT_ACK = 2
export const SACK = 3
export const HEARTBEAT = 4
export const ABORT = 6
export const SHUTDOWN = 7
export const SHUTDOWN_ACK = 8
export const COOKIE_ECHO = 10
export const COOKIE_ACK = 11
export const RECONFIG = 130

export const FIRST_FRAGMENT = 2
export const LAST_FRAGMENT = 1
export const UNORDERED = 4
/** The sender wants to know at once whether it arrived (RFC 9260 section 3.3.1). */
export const IMMEDIATE = 8

export interface DataChunk {
  readonly type: typeof DATA
  readonly flags: number
  readonly tsn: number
  readonly streamId: number
  readonly protocol: number
  readonly userData: Buffer
}

/** INIT and INIT ACK, with the field names werift reads. */
export interface InitChunk {
  readonly type: typeof INIT | typeof INIT_ACK
  readonly initiateTag: number
  readonly advertisedRwnd: number
  readonly outboundStreams: number
  readonly inboundStreams: number
  readonly initialTsn: number
  readonly params: readonly Parameter[]
}

export interface SackChunk {
  readonly type: typeof SACK
  readonly cumulativeTsn: number
  readonly advertisedRwnd: number
  /** First and last offset from the cumulative TSN, both included; ascending and apart. */
  readonly gaps: readonly (readonly [first: number, last: number])[]
  readonly duplicates: readonly number[]
}

/** HEARTBEAT, COOKIE ECHO, ABORT and so on: only the bytes. */
export interface PlainChunk {
  readonly type:
    | typeof HEARTBEAT
    | typeof ABORT
    | typeof SHUTDOWN
    | typeof SHUTDOWN_ACK
    | typeof COOKIE_ECHO
    | typeof COOKIE_ACK
  readonly body: Buffer
}

export interface ReconfigChunk {
  readonly type: typeof RECONFIG
  readonly params: readonly Parameter[]
}

export type Parameter = readonly [type: number, value: Buffer]
export type Chunk = DataChunk | InitChunk | SackChunk | PlainChunk | ReconfigChunk

export interface SctpPacket {
  readonly sourcePort: number
  readonly destinationPort: number
  readonly verificationTag: number
  readonly chunks: readonly Chunk[]
}

export const HEADER_BYTES = 12
const CHUNK_HEADER_BYTES = 4
const DATA_HEADER_BYTES = 16
const INIT_BYTES = 16
const SACK_BYTES = 12
/** A DTLS record of one datagram holds far fewer useful ones. */
const MAX_CHUNKS = 64
const MAX_PARAMETERS = 32

/**
 * Reads a packet whose checksum `crc32c` confirms.
 * @returns undefined when anything in it is malformed.
 */
export function parseSctpPacket(packet: Buffer, crc32c: (data: Uint8Array) => number): SctpPacket | undefined {
  if (packet.length < HEADER_BYTES + CHUNK_HEADER_BYTES || !hasChecksum(packet, crc32c)) return undefined
  const chunks: Chunk[] = []
  let position = HEADER_BYTES
  for (let count = 0; position + CHUNK_HEADER_BYTES <= packet.length; count += 1) {
    const length = packet.readUInt16BE(position + 2)
    const end = position + length
    if (count === MAX_CHUNKS || length < CHUNK_HEADER_BYTES || end > packet.length) return undefined
    const type = packet[position]!
    const body = packet.subarray(position + CHUNK_HEADER_BYTES, end)
    const chunk = parseChunk(type, packet[position + 1]!, body)
    if (chunk === 'malformed') return undefined
    if (chunk !== undefined) chunks.push(chunk)
    // RFC 9260 section 3.2: the highest bit says whether to skip an unknown chunk or to stop at it.
    else if (!KNOWN_AND_UNUSED.has(type) && type < 128) break
    position = end + padding(length)
  }
  return {
    sourcePort: packet.readUInt16BE(0),
    destinationPort: packet.readUInt16BE(2),
    verificationTag: packet.readUInt32BE(4),
    chunks,
  }
}

/** HEARTBEAT ACK, ERROR, SHUTDOWN COMPLETE: nothing here waits for them. */
const KNOWN_AND_UNUSED: ReadonlySet<number> = new Set([5, 9, 14])

function hasChecksum(packet: Buffer, crc32c: (data: Uint8Array) => number): boolean {
  const claimed = packet.readUInt32LE(8)
  // Computed with the field set to zero (RFC 9260 section 6.8). The packet is ours: it was decrypted into its own buffer.
  packet.writeUInt32LE(0, 8)
  const actual = crc32c(packet)
  packet.writeUInt32LE(claimed, 8)
  return actual === claimed
}

function parseChunk(type: number, flags: number, body: Buffer): Chunk | 'malformed' | undefined {
  switch (type) {
    case DATA:
      return parseData(flags, body)
    case INIT:
    case INIT_ACK:
      return parseInit(type, body)
    case SACK:
      return parseSack(body)
    case RECONFIG: {
      const params = parseParameters(body)
      return params === undefined ? 'malformed' : { type, params }
    }
    case HEARTBEAT:
      // What it carries is sent back: only what is well-formed, so that nobody is made to pass malformed bytes on.
      return parseParameters(body) === undefined ? 'malformed' : { type, body }
    case ABORT:
    case SHUTDOWN:
    case SHUTDOWN_ACK:
    case COOKIE_ECHO:
    case COOKIE_ACK:
      return { type, body }
    default:
      return undefined
  }
}

function parseData(flags: number, body: Buffer): DataChunk | 'malformed' {
  // A chunk without user data is an error of its own in RFC 9260 section 6.2; no correct sender makes one.
  if (body.length <= DATA_HEADER_BYTES - CHUNK_HEADER_BYTES) return 'malformed'
  return {
    type: DATA,
    flags,
    tsn: body.readUInt32BE(0),
    streamId: body.readUInt16BE(4),
    protocol: body.readUInt32BE(8),
    userData: body.subarray(12),
  }
}

function parseInit(type: typeof INIT | typeof INIT_ACK, body: Buffer): InitChunk | 'malformed' {
  if (body.length < INIT_BYTES) return 'malformed'
  const params = parseParameters(body.subarray(INIT_BYTES))
  const chunk = {
    type,
    initiateTag: body.readUInt32BE(0),
    advertisedRwnd: body.readUInt32BE(4),
    outboundStreams: body.readUInt16BE(8),
    inboundStreams: body.readUInt16BE(10),
    initialTsn: body.readUInt32BE(12),
  }
  const legal =
    chunk.initiateTag !== 0 &&
    chunk.outboundStreams !== 0 &&
    chunk.inboundStreams !== 0 &&
    chunk.advertisedRwnd >= MIN_WINDOW_BYTES
  return params !== undefined && legal ? { ...chunk, params } : 'malformed'
}

/** RFC 9260 section 3.3.2: a receiver window below this is a mistake. */
const MIN_WINDOW_BYTES = 1500

function parseSack(body: Buffer): SackChunk | 'malformed' {
  if (body.length < SACK_BYTES) return 'malformed'
  const gapCount = body.readUInt16BE(8)
  const duplicateCount = body.readUInt16BE(10)
  if (body.length !== SACK_BYTES + 4 * (gapCount + duplicateCount)) return 'malformed'
  const gaps: [number, number][] = []
  let previousEnd = 0
  for (let at = SACK_BYTES; at < SACK_BYTES + 4 * gapCount; at += 4) {
    const first = body.readUInt16BE(at)
    const last = body.readUInt16BE(at + 2)
    if (first <= previousEnd || last < first) return 'malformed'
    gaps.push([first, last])
    previousEnd = last
  }
  return {
    type: SACK,
    cumulativeTsn: body.readUInt32BE(0),
    advertisedRwnd: body.readUInt32BE(4),
    gaps,
    // Duplicates only say that the network repeats packets; nothing acts on them.
    duplicates: [],
  }
}

function parseParameters(body: Buffer): Parameter[] | undefined {
  const params: Parameter[] = []
  let position = 0
  while (position + CHUNK_HEADER_BYTES <= body.length) {
    const length = body.readUInt16BE(position + 2)
    const end = position + length
    if (params.length === MAX_PARAMETERS || length < CHUNK_HEADER_BYTES || end > body.length) return undefined
    params.push([body.readUInt16BE(position), body.subarray(position + CHUNK_HEADER_BYTES, end)])
    position = end + padding(length)
  }
  return params
}

/** A chunk from its parts, padded. */
export function serializeChunk(type: number, flags: number, body: Buffer): Buffer {
  const length = CHUNK_HEADER_BYTES + body.length
  const chunk = Buffer.alloc(length + padding(length))
  chunk[0] = type
  chunk[1] = flags
  chunk.writeUInt16BE(length, 2)
  body.copy(chunk, CHUNK_HEADER_BYTES)
  return chunk
}

export function serializeSack(
  cumulativeTsn: number,
  windowBytes: number,
  gaps: readonly (readonly [number, number])[],
): Buffer {
  const body = Buffer.alloc(SACK_BYTES + 4 * gaps.length)
  body.writeUInt32BE(cumulativeTsn, 0)
  body.writeUInt32BE(windowBytes, 4)
  body.writeUInt16BE(gaps.length, 8)
  gaps.forEach(([first, last], index) => {
    body.writeUInt16BE(first, SACK_BYTES + 4 * index)
    body.writeUInt16BE(last, SACK_BYTES + 4 * index + 2)
  })
  return serializeChunk(SACK, 0, body)
}

function padding(length: number): number {
  return (4 - (length % 4)) % 4
}
