import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import { parsePeerId } from '@mesh/client'
import { type MemorySignalService, memoryNetwork, signalingRoutes } from '@mesh/client/testing'
import { equalBytes } from '@mesh/core'
import { PeerPayloadSchema } from '@mesh/protocol/mesh/peer/v1/seal_pb'
import { MembershipRecordSchema } from '@mesh/protocol/mesh/signal/v1/membership_pb'
import type { Envelope } from '@mesh/protocol/mesh/signal/v1/signal_service_pb'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Cast, connected, type E2ePeer, until } from './cast.ts'

/** A lying server on real sockets, with real processes and pages as its clients: nothing false reaches an application. */
let cast: Cast
let signaling: MemorySignalService
/** For pages: they speak HTTP/1.1 to plaintext servers, and Node processes HTTP/2. */
let pageOrigin = ''
let stop: () => void

beforeEach(async () => {
  cast = new Cast()
  signaling = (await memoryNetwork()).signaling
  const handler = connectNodeAdapter({ routes: signalingRoutes(signaling) })
  const http2 = createHttp2Server(handler)
  const http1 = createHttpServer((request, response) => withCors(request, response, () => handler(request, response)))
  const listen = (server: typeof http1 | typeof http2) =>
    new Promise<string>((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
    })
  cast.origin = await listen(http2)
  pageOrigin = await listen(http1)
  stop = () => {
    http1.closeAllConnections()
    http1.close()
    http2.close()
  }
})
afterEach(async () => {
  await cast.end()
  stop()
})

function withCors(request: IncomingMessage, response: ServerResponse, next: () => void): void {
  response.setHeader('access-control-allow-origin', '*')
  response.setHeader('access-control-allow-headers', '*, authorization')
  if (request.method === 'OPTIONS') response.writeHead(204).end()
  else next()
}

function signals(change: (envelope: Envelope) => Envelope | Envelope[]): void {
  signaling.tampering.envelope = (envelope) =>
    fromBinary(PeerPayloadSchema, envelope.payload).payload.case === 'signal' ? change(envelope) : envelope
}

async function mixedPair(): Promise<[E2ePeer, E2ePeer]> {
  return [await cast.nodePeer('party'), await cast.pagePeer('party', undefined, pageOrigin)]
}

/** Long enough for three times the handshake of an honest pair. */
async function nobodyComesIn(...peers: E2ePeer[]): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 4_000))
  for (const peer of peers) {
    const { peers: others, messages } = await peer.report()
    expect(others).toEqual([])
    expect(messages).toEqual([])
  }
}

describe('a lying server on real sockets', () => {
  it('connects its clients when it tells the truth', async () => {
    const pair = await mixedPair()
    await until(() => connected(pair))
    expect(await pair[0].send('true')).toBe(1)
  })

  it('swaps records and is not believed', async () => {
    signaling.tampering.records = (records) =>
      records.map((signed) => {
        const record = fromBinary(MembershipRecordSchema, signed.record)
        return { ...signed, record: toBinary(MembershipRecordSchema, { ...record, seq: record.seq + 1n }) }
      })
    const pair = await mixedPair()
    await nobodyComesIn(...pair)
  })

  it('alters sealed signals and nothing opens', async () => {
    signals((envelope) => {
      const payload = envelope.payload.slice()
      payload[payload.length - 1] = (payload.at(-1) as number) ^ 1
      return { ...envelope, payload }
    })
    const pair = await mixedPair()
    await nobodyComesIn(...pair)
  })

  it('connects two peers to a third, and neither takes the third for the other', async () => {
    const third = await cast.nodePeer('party')
    const thirdKey = parsePeerId(third.id)
    signals((envelope) => {
      if (equalBytes(envelope.to, thirdKey) || equalBytes(envelope.from, thirdKey)) return envelope
      return [
        { ...envelope, to: thirdKey },
        { ...envelope, to: thirdKey, from: thirdKey },
      ]
    })
    const [a, b] = await mixedPair()
    await until(async () => (await a.report()).peers.length > 0 && (await b.report()).peers.length > 0)
    expect(await third.send('from the third')).toBe(2)
    for (const peer of [a, b]) {
      const { peers, messages } = await peer.report()
      expect(peers.map(({ id }) => id)).toEqual([third.id])
      expect(messages).toEqual([`${third.id} from the third`])
    }
  })
})
