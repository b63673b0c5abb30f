import { type Clock, TokenBucket } from '@mesh/core'
import { MAX_REMOTE_CANDIDATES } from './remote-candidate.ts'
import { hasIntegrity, isConnectivityCheck, readStun, type StunHeader } from './stun-guard.ts'
import { UdpSocket } from './udp-socket.ts'
import type {
  IceAgent,
  IceProtocol,
  StunOverTurnProtocol,
  StunProtocol,
  StunTransaction,
  TransportAddress,
  WeriftModule,
} from './werift-internals.ts'

/**
 * Stands between the sockets of one connection and werift's ICE agent.
 *
 * 1. STUN requests reach the agent only when they are connectivity checks proved with this connection's password; responses
 *    only when they belong to a transaction, come from where it was sent and, for checks, are proved with the peer's password.
 * 2. Everything else (DTLS) is accepted only from an address that has proved itself in such an exchange: one forged packet
 *    from elsewhere never gets past this point.
 * 3. What the agent keeps is bounded: it remembers every transaction, address and pair it has ever seen.
 * 4. Datagrams that come before DTLS listens wait in a short queue; werift drops them and so loses the first flight whenever
 *    the other side is faster.
 */
export class IceGuard {
  readonly #agent: IceAgent
  readonly #werift: WeriftModule
  readonly #requests: TokenBucket
  readonly #proved = new Map<IceProtocol, Set<string>>()
  #roleConflicts = 0
  #early: Buffer[] = []
  #receive: ((datagram: Buffer) => void) | undefined
  #turnBytesWaiting = 0

  constructor(agent: IceAgent, werift: WeriftModule, clock: Clock) {
    this.#agent = agent
    this.#werift = werift
    this.#requests = new TokenBucket({ perSecond: REQUESTS_PER_SECOND, burst: REQUESTS_BURST, clock })
    const ensureProtocol = agent.ensureProtocol.bind(agent)
    agent.ensureProtocol = (protocol) => {
      ensureProtocol(protocol)
      this.#attach(protocol)
    }
  }

  /** Sends what follows to `receive`, beginning with what has been waiting. */
  listen(receive: (datagram: Buffer) => void): void {
    this.#receive = receive
    const early = this.#early
    this.#early = []
    for (const datagram of early) receive(datagram)
  }

  /** Sends a datagram over the selected pair; drops it when there is none. */
  send(datagram: Buffer): void {
    const pair = this.#agent.nominated
    if (pair === undefined || !this.#agent.canSendApplicationData()) return
    const { host, port } = pair.remoteCandidate
    const { protocol } = pair
    if (isStun(protocol) && protocol.transport instanceof UdpSocket) {
      protocol.transport.sendTo(datagram, port, host)
      return
    }
    if (this.#turnBytesWaiting + datagram.length > MAX_TURN_BYTES_WAITING) return
    this.#turnBytesWaiting += datagram.length
    const sent = () => {
      this.#turnBytesWaiting -= datagram.length
    }
    protocol.sendData(datagram, [host, port]).then(sent, sent)
  }

  /** Drops what is waiting. */
  close(): void {
    this.#early = []
    this.#receive = () => {}
  }

  #attach(protocol: IceProtocol): void {
    if (isStun(protocol)) {
      protocol.datagramReceived = (data, from) => this.#handle(protocol, protocol.transactions, data, from)
    } else {
      const relayed = protocol as StunOverTurnProtocol
      relayed.handleStunMessage = (data, from) => this.#handle(relayed, relayed.turn.transactions, data, from)
    }
  }

  #handle(
    protocol: IceProtocol,
    transactions: Record<string, StunTransaction>,
    data: Buffer,
    from: TransportAddress,
  ): void {
    const first = data[0] ?? 255
    // RFC 7983: 0–3 is STUN, 20–63 DTLS; the rest is media and TURN channels, which do not belong here.
    if (first > 3) {
      if (first >= 20 && first <= 63 && this.#isProved(protocol, from)) this.#deliver(data)
      return
    }
    const header = readStun(data)
    if (header?.kind === 'request') this.#handleRequest(protocol, header, data, from)
    else if (header?.kind === 'response' || header?.kind === 'error') {
      const transaction = Object.hasOwn(transactions, header.transactionId)
        ? transactions[header.transactionId]
        : undefined
      if (transaction !== undefined) this.#handleResponse(protocol, transaction, header, data, from)
    }
  }

  #handleRequest(protocol: IceProtocol, header: StunHeader, data: Buffer, from: TransportAddress): void {
    const agent = this.#agent
    const key = Buffer.from(agent.localPassword)
    if (!isConnectivityCheck(header) || !this.#namesUs(header.username!) || !hasIntegrity(data, header, key)) return
    if (!this.#requests.take() || !this.#hasRoomFor(protocol, from)) return
    const message = this.#werift.parseMessage(data, key)
    if (message === undefined) return
    this.#prove(protocol, from)
    protocol.onRequestReceived.execute(message, from, data)
    for (const { requestTransactionIds } of agent.checkList) {
      if (requestTransactionIds.size > MAX_TRANSACTION_IDS) requestTransactionIds.clear()
    }
  }

  /** "ours:theirs" (RFC 8445 section 7.2.2). Their half is unknown until their description has come. */
  #namesUs(username: string): boolean {
    const { localUsername, remoteUsername } = this.#agent
    return remoteUsername === ''
      ? username.startsWith(`${localUsername}:`)
      : username === `${localUsername}:${remoteUsername}`
  }

  #hasRoomFor(protocol: IceProtocol, from: TransportAddress): boolean {
    const agent = this.#agent
    if (this.#isProved(protocol, from)) return agent.earlyChecks.length < MAX_EARLY_CHECKS
    return (
      agent.earlyChecks.length < MAX_EARLY_CHECKS &&
      agent.remoteCandidates.length < MAX_REMOTE_CANDIDATES * 2 &&
      agent.checkList.length < MAX_PAIRS &&
      (this.#proved.get(protocol)?.size ?? 0) < MAX_PROVED_ADDRESSES
    )
  }

  #handleResponse(
    protocol: IceProtocol,
    transaction: StunTransaction,
    header: StunHeader,
    data: Buffer,
    from: TransportAddress,
  ): void {
    const { integrityKey, expectedAddr } = transaction
    if (integrityKey !== undefined) {
      if (!hasIntegrity(data, header, integrityKey)) return
      // werift repeats a check for ever on 401 and 487, and throws where nobody listens when there is no code.
      if (header.kind === 'error') {
        this.#roleConflicts += 1
        if (header.errorCode !== ROLE_CONFLICT || this.#roleConflicts > MAX_ROLE_CONFLICTS) return
      }
      if (from[0] === expectedAddr[0] && from[1] === expectedAddr[1]) this.#prove(protocol, from)
    } else if (header.kind === 'error' && header.errorCode === undefined) return
    const message = this.#werift.parseMessage(data, integrityKey)
    if (message !== undefined) transaction.responseReceived(message, from)
  }

  #deliver(datagram: Buffer): void {
    if (this.#receive !== undefined) this.#receive(datagram)
    else if (this.#early.length < MAX_EARLY_DATAGRAMS) this.#early.push(datagram)
  }

  #prove(protocol: IceProtocol, from: TransportAddress): void {
    const addresses = this.#proved.get(protocol) ?? new Set()
    if (addresses.size < MAX_PROVED_ADDRESSES) addresses.add(addressKey(from))
    this.#proved.set(protocol, addresses)
  }

  #isProved(protocol: IceProtocol, from: TransportAddress): boolean {
    return this.#proved.get(protocol)?.has(addressKey(from)) === true
  }
}

function isStun(protocol: IceProtocol): protocol is StunProtocol {
  return protocol.type === 'stun'
}

function addressKey(address: TransportAddress): string {
  return `${address[0]} ${address[1]}`
}

const ROLE_CONFLICT = 487
/** Two sides that both believe to be in control settle it in one exchange per pair. */
const MAX_ROLE_CONFLICTS = 16
/** A peer with 64 candidates checks each of them a few times in the first second and then keeps one pair alive. */
const REQUESTS_PER_SECOND = 100
const REQUESTS_BURST = 400
const MAX_EARLY_CHECKS = 32
/** 64 remote candidates on each of 8 local ones. */
const MAX_PAIRS = 512
const MAX_PROVED_ADDRESSES = 128
const MAX_TRANSACTION_IDS = 128
/** Two copies of a DTLS flight that came in pieces. */
const MAX_EARLY_DATAGRAMS = 16
/** 1 MiB: as much as may wait at a UDP socket. */
const MAX_TURN_BYTES_WAITING = 1_048_576
