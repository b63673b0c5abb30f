import { createHash } from 'node:crypto'
import { isIP, isIPv4 } from 'node:net'
import type { Clock } from '@mesh/core'
import type { IceServers, TurnServer } from './ice-options.ts'
import { readStun } from './stun-guard.ts'
import { UdpSocket } from './udp-socket.ts'
import type { IceAgent, StunOverTurnProtocol, TurnProtocol, WeriftModule, WeriftTransport } from './werift-internals.ts'

/**
 * Gathers local candidates (RFC 8445 section 5.1.1), in place of werift's own gathering.
 *
 * werift's opens its own sockets (see `udp-socket.ts`), asks a public STUN server unless told otherwise, leaves out relayed
 * candidates that come after the peer's when it pairs them, hides every TURN error and never frees an allocation.
 */
export interface GatheringOptions {
  readonly werift: WeriftModule
  readonly agent: IceAgent
  readonly servers: IceServers
  /** Local addresses to use, literal. */
  readonly hostAddresses: readonly string[]
  readonly clock: Clock
  readonly log: (message: string, detail?: unknown) => void
  /** STUN or TURN did not answer, or refused. `code` as in the W3C event: 701 when the server could not be reached. */
  readonly onError: (code: number, text: string) => void
}

/** Resolves when every candidate that will be found has been found. Never rejects. */
export async function gatherCandidates(options: GatheringOptions): Promise<void> {
  const { agent, servers } = options
  if (agent.localCandidatesStart) return
  agent.localCandidatesStart = true
  const hosts = servers.relayOnly ? [] : options.hostAddresses.map((address) => gatherHost(options, address))
  const relay = servers.turn === undefined ? [] : [gatherRelay(options, servers.turn)]
  await Promise.all([...hosts, ...relay])
  agent.localCandidatesEnd = true
}

/** The addresses to gather on: those of the interfaces and `additional`; loopback when the machine has no other. */
export function hostAddresses(werift: WeriftModule, additional: readonly string[]): string[] {
  const addresses = [...new Set([...additional, ...werift.getHostAddresses(true, true)])].filter((a) => isIP(a) !== 0)
  return addresses.length > 0 ? addresses.slice(0, MAX_HOST_ADDRESSES) : ['127.0.0.1']
}

async function gatherHost(options: GatheringOptions, address: string): Promise<void> {
  const { werift, agent, log } = options
  let socket: UdpSocket
  try {
    socket = await UdpSocket.open(address, log)
  } catch (error) {
    // An address may vanish between listing and binding; the other ones remain.
    log(`No candidate on ${address}`, error)
    return
  }
  if (isClosed(agent)) {
    await socket.close()
    return
  }
  const protocol = new werift.StunProtocol()
  agent.ensureProtocol(protocol)
  protocol.transport = socket
  protocol.localIp = address
  socket.onData = (data, from) => protocol.datagramReceived(data, from)
  protocol.localCandidate = new werift.Candidate(
    foundation('host', address),
    1,
    'udp',
    werift.candidatePriority('host', { transport: 'udp' }),
    address,
    socket.port,
    'host',
    undefined,
    undefined,
    undefined,
    agent.generation,
    agent.localUsername,
  )
  agent.protocols.push(protocol)
  agent.pairLocalProtocol(protocol)
  agent.appendLocalCandidate(protocol.localCandidate)
  const { stun } = options.servers
  if (stun === undefined || !isIPv4(address) || isLoopback(address) !== isLoopback(stun[0])) return
  const reflexive = await within(options.clock, SERVER_MS, werift.serverReflexiveCandidate(protocol, stun), undefined)
  if (isClosed(agent)) return
  if (reflexive === undefined) options.onError(CANNOT_REACH, `The STUN server ${stun[0]}:${stun[1]} did not answer`)
  else agent.appendLocalCandidate(reflexive)
}

async function gatherRelay(options: GatheringOptions, server: TurnServer): Promise<void> {
  const { werift, agent } = options
  let transport: WeriftTransport | undefined
  try {
    transport = await openTurnTransport(options, server)
    const turn = new werift.TurnProtocol(
      server.address,
      server.username,
      server.credential,
      ALLOCATION_SECONDS,
      transport,
    )
    const allocated = turn.connectionMade().then(() => undefined)
    const refused = refusal(turn, transport)
    const code = await within(options.clock, SERVER_MS, Promise.race([allocated, refused]), CANNOT_REACH)
    if (code !== undefined) {
      cancelTransactions(turn)
      throw new TurnRefused(code)
    }
    const protocol = new werift.StunOverTurnProtocol(turn)
    closeWithAllocation(werift, protocol)
    if (isClosed(agent)) {
      await protocol.close()
      return
    }
    guardTransport(turn, transport, options.log)
    addRelayed(options, protocol)
  } catch (error) {
    await transport?.close()
    if (isClosed(agent)) return
    const code = turnErrorCode(error)
    const what = code === CANNOT_REACH ? 'could not be reached' : `refused with code ${code}`
    options.onError(code, `The TURN server ${server.address[0]}:${server.address[1]} ${what}`)
  }
}

async function openTurnTransport(options: GatheringOptions, server: TurnServer): Promise<WeriftTransport> {
  const { werift, log } = options
  const limits = { connectTimeoutMs: SERVER_MS }
  if (server.transport === 'tcp') return werift.TcpTransport.init(server.address, limits)
  if (server.transport === 'tls') {
    const [host] = server.address
    return werift.TlsTransport.init(server.address, isIP(host) === 0 ? { servername: host } : {}, limits)
  }
  // To a server on this machine from loopback, to any other from wherever routing says.
  const [host] = server.address
  const local = host === '127.0.0.1' || host === '::1' ? host : isIP(host) === 6 ? '::' : '0.0.0.0'
  return UdpSocket.open(local, log)
}

function addRelayed(options: GatheringOptions, protocol: StunOverTurnProtocol): void {
  const { werift, agent } = options
  const [host, port] = protocol.turn.relayedAddress
  const [relatedHost, relatedPort] = protocol.turn.mappedAddress
  agent.ensureProtocol(protocol)
  protocol.localCandidate = new werift.Candidate(
    foundation('relay', host),
    1,
    'udp',
    werift.candidatePriority('relay'),
    host,
    port,
    'relay',
    relatedHost,
    relatedPort,
    undefined,
    agent.generation,
    agent.localUsername,
  )
  agent.protocols.push(protocol)
  agent.pairLocalProtocol(protocol)
  agent.appendLocalCandidate(protocol.localCandidate)
}

/** Frees the allocation before the socket closes: servers count them against a quota for ten minutes otherwise. */
function closeWithAllocation(werift: WeriftModule, protocol: StunOverTurnProtocol): void {
  const { turn } = protocol
  const close = protocol.close.bind(protocol)
  protocol.close = async () => {
    cancelTransactions(turn)
    const release = new werift.Message(REFRESH, REQUEST).setAttribute('LIFETIME', 0)
    // The answer does not matter: the allocation expires by itself when this is lost.
    await turn.requestWithRetry(release, turn.server, AbortSignal.timeout(RELEASE_MS)).catch(() => {})
    await close()
  }
}

function cancelTransactions(turn: TurnProtocol): void {
  for (const transaction of Object.values(turn.transactions)) transaction.cancel()
}

/**
 * Resolves with the error code when the server refuses our credentials. It says so without MESSAGE-INTEGRITY, since there is no
 * key both know, and werift waits for a proved answer that never comes.
 */
function refusal(turn: TurnProtocol, transport: WeriftTransport): Promise<number> {
  return new Promise((resolve) => {
    const { onData } = transport
    transport.onData = (data, from) => {
      const header = turn.integrityKey === undefined ? undefined : readStun(data)
      const expected = header !== undefined && Object.hasOwn(turn.transactions, header.transactionId)
      if (expected && header.kind === 'error' && header.errorCode !== STALE_NONCE)
        resolve(header.errorCode ?? CANNOT_REACH)
      onData(data, from)
    }
  })
}

class TurnRefused extends Error {
  readonly code: number

  constructor(code: number) {
    super(`TURN error ${code}`)
    this.name = 'TurnRefused'
    this.code = code
  }
}

/**
 * On UDP, only the server may speak for the peers it relays, and werift does not look where a packet comes from. On a stream,
 * what is not a frame would fill memory: werift waits for the rest of it for ever.
 */
function guardTransport(turn: TurnProtocol, transport: WeriftTransport, log: GatheringOptions['log']): void {
  const { onData } = transport
  transport.onData = (data, from) => {
    if (transport.type !== 'udp') {
      try {
        if (turn.tcpBuffer.length + data.length > MAX_STREAM_BYTES) void transport.close()
        else onData(data, from)
      } catch (error) {
        // As for datagrams: nothing that arrives may end the process.
        log('Data from a TURN server was dropped because handling it failed', error)
      }
      return
    }
    const server = turn.pinnedServerEndpoint
    if (server !== undefined && from[0] === server[0] && from[1] === server[1]) onData(data, from)
  }
}

async function within<T, Late>(clock: Clock, limitMs: number, work: Promise<T>, late: Late): Promise<T | Late> {
  return new Promise((resolve, reject) => {
    const timer = clock.schedule(limitMs, () => resolve(late))
    work.then(resolve, reject).finally(() => timer.cancel())
  })
}

/** Of our own refusal, or of the STUN error inside werift's; 701 (W3C) when there was no answer. */
function turnErrorCode(error: unknown): number {
  if (error instanceof TurnRefused) return error.code
  const response = (error as { response?: { getAttributeValue(name: string): unknown } }).response
  const code = response?.getAttributeValue('ERROR-CODE')
  return Array.isArray(code) && typeof code[0] === 'number' ? code[0] : CANNOT_REACH
}

/** Same for candidates of one kind and base (RFC 8445 section 5.1.1.3); any token will do. */
function foundation(kind: string, address: string): string {
  return createHash('sha256').update(`${kind} udp ${address}`).digest('hex').slice(0, 16)
}

/** From loopback only servers on loopback can be reached, and from elsewhere only others. */
function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === 'localhost'
}

function isClosed(agent: IceAgent): boolean {
  return agent.state === 'closed'
}

const REFRESH = 4
const REQUEST = 0
const CANNOT_REACH = 701
/** The server wants the request again under a new nonce, which werift does. */
const STALE_NONCE = 438
/** A machine with more addresses gains nothing from checking them all. */
const MAX_HOST_ADDRESSES = 8
/** STUN and TURN servers answer in one or two round trips; 5 s is their third retransmission. */
const SERVER_MS = 5000
const RELEASE_MS = 500
/** RFC 8656 section 7.2: the default lifetime, refreshed by werift at five sixths of it. */
const ALLOCATION_SECONDS = 600
/** Two of the largest frames. */
const MAX_STREAM_BYTES = 131_072
