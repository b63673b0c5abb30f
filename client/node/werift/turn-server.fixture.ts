import { createHash } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { readStun } from './stun-guard.ts'
import { loadWerift, type StunMessage, type TransportAddress, type WeriftModule } from './werift-internals.ts'

/**
 * A TURN server on loopback, as much of RFC 8656 as two peers need: allocations with long-term credentials, permissions, channels
 * and data both ways. For tests; it keeps no lifetimes.
 */
export interface TurnServerFixture {
  readonly url: string
  readonly username: string
  readonly credential: string
  /** Allocations that stand. */
  allocations(): number
  close(): void
}

interface Allocation {
  readonly client: TransportAddress
  readonly relay: Socket
  readonly channels: Map<number, TransportAddress>
}

const REALM = 'mesh.test'
const NONCE = Buffer.from('nonce')
const ALLOCATE = 3
const REFRESH = 4
const SEND_INDICATION = 0x0016
const CREATE_PERMISSION = 8
const CHANNEL_BIND = 9
const SUCCESS = 0x0100
const ERROR = 0x0110

export async function startTurnServer(): Promise<TurnServerFixture> {
  const server = new TurnServer(await loadWerift())
  await new Promise<void>((resolve) => server.socket.bind(0, '127.0.0.1', resolve))
  return {
    url: `turn:127.0.0.1:${server.socket.address().port}`,
    username: 'user',
    credential: 'secret',
    allocations: () => server.allocations.size,
    close: () => server.close(),
  }
}

class TurnServer {
  readonly socket = createSocket('udp4')
  readonly allocations = new Map<string, Allocation>()
  readonly #werift: WeriftModule
  readonly #key = createHash('md5').update(`user:${REALM}:secret`).digest()

  constructor(werift: WeriftModule) {
    this.#werift = werift
    this.socket.on('message', (data, { address, port }) => {
      if (data[0]! >= 0x40) this.#relayOut(this.allocations.get(`${address}:${port}`), data)
      else void this.#handle(data, [address, port])
    })
  }

  close(): void {
    this.socket.close()
    for (const { relay } of this.allocations.values()) relay.close()
  }

  async #handle(data: Buffer, client: TransportAddress): Promise<void> {
    const key = `${client[0]}:${client[1]}`
    const header = readStun(data)
    if (header === undefined) return
    if (data.readUInt16BE(0) === SEND_INDICATION) {
      const message = this.#werift.parseMessage(data)!
      const [host, port] = message.getAttributeValue('XOR-PEER-ADDRESS') as TransportAddress
      this.allocations.get(key)?.relay.send(message.getAttributeValue('DATA') as Buffer, port, host)
      return
    }
    if (header.kind !== 'request') return
    const message = header.integrityAt === undefined ? undefined : this.#werift.parseMessage(data, this.#key)
    const answer = (kind: number, fill: (response: StunMessage) => void) => {
      const response = new this.#werift.Message(header.method, kind) as StunMessage & {
        transactionId: Buffer
        readonly bytes: Buffer
        addMessageIntegrity(key: Buffer): unknown
      }
      response.transactionId = data.subarray(8, 20)
      fill(response)
      if (message !== undefined) response.addMessageIntegrity(this.#key)
      this.socket.send(response.bytes, client[1], client[0])
    }
    if (message === undefined) {
      answer(ERROR, (response) =>
        response
          .setAttribute('ERROR-CODE', [401, 'Unauthorized'])
          .setAttribute('REALM', REALM)
          .setAttribute('NONCE', NONCE),
      )
    } else if (header.method === ALLOCATE) {
      const relay = await this.#allocate(client)
      answer(SUCCESS, (response) =>
        response
          .setAttribute('XOR-RELAYED-ADDRESS', ['127.0.0.1', relay.address().port])
          .setAttribute('XOR-MAPPED-ADDRESS', client)
          .setAttribute('LIFETIME', 600),
      )
    } else if (header.method === REFRESH) {
      const lifetime = message.getAttributeValue('LIFETIME') as number
      if (lifetime === 0) {
        this.allocations.get(key)?.relay.close()
        this.allocations.delete(key)
      }
      answer(SUCCESS, (response) => response.setAttribute('LIFETIME', lifetime))
    } else if (header.method === CHANNEL_BIND) {
      const peer = message.getAttributeValue('XOR-PEER-ADDRESS') as TransportAddress
      this.allocations.get(key)?.channels.set(message.getAttributeValue('CHANNEL-NUMBER') as number, peer)
      answer(SUCCESS, () => {})
    } else if (header.method === CREATE_PERMISSION) answer(SUCCESS, () => {})
  }

  async #allocate(client: TransportAddress): Promise<Socket> {
    const known = this.allocations.get(`${client[0]}:${client[1]}`)
    if (known !== undefined) return known.relay
    const relay = createSocket('udp4')
    const allocation = { client, relay, channels: new Map<number, TransportAddress>() }
    this.allocations.set(`${client[0]}:${client[1]}`, allocation)
    relay.on('message', (data, { address, port }) => this.#relayIn(allocation, data, [address, port]))
    await new Promise<void>((resolve) => relay.bind(0, '127.0.0.1', resolve))
    return relay
  }

  #relayOut(allocation: Allocation | undefined, data: Buffer): void {
    const peer = allocation?.channels.get(data.readUInt16BE(0))
    if (peer !== undefined) allocation!.relay.send(data.subarray(4, 4 + data.readUInt16BE(2)), peer[1], peer[0])
  }

  #relayIn({ client, channels }: Allocation, data: Buffer, from: TransportAddress): void {
    const channel = [...channels].find(([, peer]) => peer[0] === from[0] && peer[1] === from[1])?.[0]
    // A peer without a channel has no permission either: nothing was said to it yet.
    if (channel === undefined) return
    const header = Buffer.alloc(4)
    header.writeUInt16BE(channel, 0)
    header.writeUInt16BE(data.length, 2)
    this.socket.send(Buffer.concat([header, data]), client[1], client[0])
  }
}
