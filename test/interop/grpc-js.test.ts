import { join as joinPath } from 'node:path'
import { fromBinary } from '@bufbuild/protobuf'
import { credentials, loadPackageDefinition, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { generateSigningKey, signRecord, signSessionProof, systemRandom } from '@mesh/core'
import { ErrorDetailSchema, ErrorReason } from '@mesh/protocol/mesh/signal/v1/error_pb'
import { MembershipKind } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import { SessionGrantSchema } from '@mesh/protocol/mesh/signal/v1/session_pb'
import { eventually, useServers } from '@mesh/server/testing'
import { afterEach, describe, expect, test } from 'vitest'

/** What another project would do: load the .proto files at run time, with the reference implementation of gRPC for Node. */
const PROTO_ROOT = joinPath(import.meta.dirname, '../../proto')

type Message = Record<string, unknown>
type Callback = (error: ServiceError | null, response: Message) => void
interface ClientStream {
  on(event: 'data', listener: (message: Message) => void): this
  on(event: 'error', listener: (error: ServiceError) => void): this
  on(event: 'end', listener: () => void): this
  write(message: Message): void
  end(): void
  cancel(): void
}
interface SignalClient {
  GetChallenge(request: Message, metadata: Metadata, callback: Callback): void
  OpenSession(request: Message, metadata: Metadata, callback: Callback): void
  Join(request: Message, metadata: Metadata, callback: Callback): void
  Leave(request: Message, metadata: Metadata, callback: Callback): void
  SendMessage(request: Message, metadata: Metadata, callback: Callback): void
  Subscribe(request: Message, metadata: Metadata): ClientStream
  Exchange(metadata: Metadata): ClientStream
  close(): void
}

const serve = useServers()
const clients: SignalClient[] = []

afterEach(() => {
  for (const client of clients.splice(0)) client.close()
})

function connect(port: number): SignalClient {
  const file = 'mesh/signal/v1/signal_service.proto'
  const definition = loadSync(file, {
    includeDirs: [PROTO_ROOT],
    longs: String,
    enums: String,
    defaults: true,
    oneofs: true,
  })
  const { mesh } = loadPackageDefinition(definition) as unknown as {
    mesh: { signal: { v1: { SignalService: new (address: string, credentials: unknown) => SignalClient } } }
  }
  const client = new mesh.signal.v1.SignalService(`127.0.0.1:${port}`, credentials.createInsecure())
  clients.push(client)
  return client
}

type Unary = 'GetChallenge' | 'OpenSession' | 'Join' | 'Leave' | 'SendMessage'

function call(client: SignalClient, rpc: Unary, request: Message, metadata = new Metadata()): Promise<Message> {
  return new Promise((resolve, reject) => {
    client[rpc](request, metadata, (error, response) => (error === null ? resolve(response) : reject(error)))
  })
}

/** A peer on grpc-js: session open, ready to sign records. */
async function openPeer(port: number) {
  const client = connect(port)
  const key = await generateSigningKey()
  const { challenge, serverKey } = await call(client, 'GetChallenge', {})
  const fields = { challenge: challenge as Uint8Array, serverKey: serverKey as Uint8Array, sessionOrder: 1n }
  const origin = `http://127.0.0.1:${port}`
  const proof = await signSessionProof(key, { ...fields, origin, clientNonce: systemRandom.bytes(16) })
  const opened = await call(client, 'OpenSession', { proof })
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${opened.token}`)
  const { sessionId } = fromBinary(SessionGrantSchema, (opened.grant as { statement: Uint8Array }).statement)
  let seq = 0n
  const record = (topic: Uint8Array, kind: MembershipKind = MembershipKind.JOIN) => {
    seq += 1n
    const sessionKey = Uint8Array.from({ length: 32 }, (_, i) => i + 1)
    const common = { kind, topic, sessionId, seq, issuedAtMs: Date.now(), ttlMs: 900_000, sessionKey }
    return signRecord(key, { ...common, homeKey: fields.serverKey, sessionOrder: 1n })
  }
  return { client, key, metadata, opened, record }
}

/** The ErrorDetail in grpc-status-details-bin: a google.rpc.Status with one Any. */
function detailOf(error: ServiceError) {
  const [bytes] = error.metadata.get('grpc-status-details-bin') as [Buffer]
  const typeUrl = Buffer.from('type.googleapis.com/mesh.signal.v1.ErrorDetail')
  const at = bytes.indexOf(typeUrl) + typeUrl.length
  // Field 2 of Any: tag, length, value; the length of an ErrorDetail is one byte.
  const length = bytes[at + 1] as number
  return fromBinary(ErrorDetailSchema, bytes.subarray(at + 2, at + 2 + length))
}

describe('@grpc/grpc-js', () => {
  test('gets a challenge', async () => {
    const { port, server } = await serve()
    const response = await call(connect(port), 'GetChallenge', {})
    expect(response).toMatchObject({ ttlMs: 60_000 })
    expect(new Uint8Array(response.serverKey as Buffer)).toEqual(await server.publicKey)
  })

  test('sees a refused call as a status with the typed detail', async () => {
    const { port } = await serve()
    const client = connect(port)
    const error = await call(client, 'SendMessage', { envelopes: [] }).catch((reason) => reason)
    expect(error.code).toBe(status.UNAUTHENTICATED)
    expect(detailOf(error)).toMatchObject({ reason: ErrorReason.TOKEN_MISSING, retryable: false })
  })

  test('joins, subscribes, sends and leaves', async () => {
    const { port } = await serve()
    const [alice, bob] = await Promise.all([openPeer(port), openPeer(port)])
    const topic = systemRandom.bytes(32)
    await call(alice.client, 'Join', { record: await alice.record(topic) }, alice.metadata)
    const events: Message[] = []
    const stream = alice.client.Subscribe({ cursor: 0 }, alice.metadata)
    stream.on('data', (message) => events.push(...(message.events as Message[])))
    stream.on('error', () => {})
    await eventually(() => events.length > 0)
    expect(events[0]?.event).toBe('heartbeat')

    const joined = await call(bob.client, 'Join', { record: await bob.record(topic) }, bob.metadata)
    expect(joined).toMatchObject({ memberCount: 2 })
    const envelope = { id: systemRandom.bytes(16), to: alice.key.publicKey, topic, payload: Buffer.from('hello') }
    const sent = await call(bob.client, 'SendMessage', { envelopes: [envelope] }, bob.metadata)
    expect(sent.outcomes).toMatchObject([{ status: 'OUTCOME_STATUS_DELIVERED' }])
    await call(bob.client, 'Leave', { record: await bob.record(topic, MembershipKind.LEAVE) }, bob.metadata)
    await eventually(() => events.length >= 4)
    expect(events.slice(1, 4).map(({ event }) => event)).toEqual(['members', 'message', 'members'])
    expect(events[2]?.message).toMatchObject({ payload: Buffer.from('hello'), from: Buffer.from(bob.key.publicKey) })
    expect(events[3]).toMatchObject({ members: { left: [{ reason: 'DEPARTURE_REASON_LEFT' }] } })
    stream.cancel()
  })

  test('exchanges envelopes and events on one stream', async () => {
    const { port } = await serve()
    const [alice, bob] = await Promise.all([openPeer(port), openPeer(port)])
    const topic = systemRandom.bytes(32)
    for (const peer of [alice, bob])
      await call(peer.client, 'Join', { record: await peer.record(topic) }, peer.metadata)
    const open = (peer: typeof alice) => {
      const got = { events: [] as Message[], outcomes: [] as Message[] }
      const stream = peer.client.Exchange(peer.metadata)
      stream.on('error', () => {})
      stream.on('data', (message) => {
        got.events.push(...(message.events as Message[]))
        got.outcomes.push(...(message.outcomes as Message[]))
      })
      stream.write({})
      return { stream, got }
    }
    const [left, right] = [open(alice), open(bob)]
    await eventually(() => left.got.events.length > 0 && right.got.events.length > 0)
    for (let i = 0; i < 50; i++) {
      const payload = Buffer.from([i])
      left.stream.write({ envelopes: [{ id: systemRandom.bytes(16), to: bob.key.publicKey, topic, payload }] })
    }
    await eventually(() => left.got.outcomes.length === 50)
    const messages = (): number[] =>
      right.got.events.flatMap(({ message }) =>
        message ? [(message as { payload: Buffer }).payload[0] as number] : [],
      )
    await eventually(() => messages().length === 50)
    expect(messages()).toEqual(Array.from({ length: 50 }, (_, i) => i))
    left.stream.cancel()
    right.stream.cancel()
  })

  test('learns from the trailers why the server ended its stream', async () => {
    const { port, server } = await serve()
    const { client, metadata } = await openPeer(port)
    const stream = client.Subscribe({ cursor: 0 }, metadata)
    const kinds: string[] = []
    stream.on('data', (message) => {
      for (const { notice } of message.events as { notice: Message | null }[])
        if (notice) kinds.push(String(notice.kind))
    })
    const failed = new Promise<ServiceError>((resolve) => stream.on('error', resolve))
    await eventually(() => server.stats().streams === 1)
    await server.close({ drainMs: 50 })
    const error = await failed
    expect(error.code).toBe(status.UNAVAILABLE)
    expect(detailOf(error)).toMatchObject({ reason: ErrorReason.DRAINING, retryable: true })
    expect(kinds).toEqual(['NOTICE_KIND_DRAINING', 'NOTICE_KIND_DRAINING'])
  })
})
