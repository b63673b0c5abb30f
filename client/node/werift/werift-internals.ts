import type { SctpTransport } from './werift-association.ts'

/**
 * The parts of werift 0.25.2 this folder touches, written down as narrow interfaces. werift's own declarations mark most of
 * them private or leave them out; naming them here makes every assumption about its insides visible in one file, so that a
 * new version of werift can be checked against it. `loadWerift` is the only import of the package in the project.
 */

/** werift's event: `execute` calls every subscriber in order. */
export interface WeriftEvent<Args extends unknown[]> {
  execute(...args: Args): void
  subscribe(run: (...args: Args) => void): { unSubscribe(): void }
}

/** Host and port. */
export type TransportAddress = readonly [host: string, port: number]

export interface WeriftCandidate {
  readonly host: string
  readonly port: number
  readonly type: string
}

export interface StunMessage {
  readonly messageClass: number
  readonly transactionIdHex: string
  getAttributeValue(name: string): unknown
  setAttribute(name: string, value: unknown): StunMessage
}

export interface StunTransaction {
  readonly integrityKey?: Buffer
  readonly expectedAddr: TransportAddress
  responseReceived(message: StunMessage, from: TransportAddress): void
  cancel(): void
}

/** One local candidate's socket, as the ICE agent sees it: `StunProtocol` or `StunOverTurnProtocol`. */
export interface IceProtocol {
  readonly type: 'stun' | 'turn'
  localCandidate: WeriftCandidate | undefined
  localIp?: string
  readonly onRequestReceived: WeriftEvent<[StunMessage, TransportAddress, Buffer]>
  sendData(data: Buffer, to: TransportAddress): Promise<void>
  close(): Promise<void>
}

export interface StunProtocol extends IceProtocol {
  readonly type: 'stun'
  readonly transactions: Record<string, StunTransaction>
  transport: WeriftTransport
  datagramReceived(data: Buffer, from: TransportAddress): void
}

export interface StunOverTurnProtocol extends IceProtocol {
  readonly type: 'turn'
  readonly turn: TurnProtocol
  handleStunMessage(data: Buffer, from: TransportAddress): void
}

export interface TurnProtocol {
  readonly server: TransportAddress
  readonly transactions: Record<string, StunTransaction>
  readonly relayedAddress: TransportAddress
  readonly mappedAddress: TransportAddress
  readonly integrityKey: Buffer | undefined
  readonly pinnedServerEndpoint: TransportAddress | undefined
  tcpBuffer: Buffer
  connectionMade(): Promise<void>
  requestWithRetry(request: StunMessage, to: TransportAddress, signal?: AbortSignal): Promise<unknown>
  close(): Promise<void>
}

/** What werift's protocols need of a socket. */
export interface WeriftTransport {
  readonly type: string
  readonly closed: boolean
  readonly address: unknown
  readonly addressFamily?: 4 | 6
  onData: (data: Buffer, from: TransportAddress) => void
  send(data: Buffer, to?: TransportAddress): Promise<void>
  close(): Promise<void>
}

export interface CandidatePair {
  readonly protocol: IceProtocol
  readonly remoteCandidate: WeriftCandidate
  readonly requestTransactionIds: Set<string>
}

/** The ICE agent of one transport. */
export interface IceAgent {
  localUsername: string
  localPassword: string
  readonly remoteUsername: string
  readonly generation: number
  readonly state: string
  readonly nominated: CandidatePair | undefined
  readonly checkList: CandidatePair[]
  readonly earlyChecks: unknown[]
  readonly remoteCandidates: WeriftCandidate[]
  readonly protocols: IceProtocol[]
  localCandidatesStart: boolean
  localCandidatesEnd: boolean
  stunServer: TransportAddress | undefined
  turnServer: TransportAddress | undefined
  readonly options: { forceTurn?: boolean }
  ensureProtocol(protocol: IceProtocol): void
  pairLocalProtocol(protocol: IceProtocol): void
  appendLocalCandidate(candidate: WeriftCandidate): void
  gatherCandidates(): Promise<void>
  canSendApplicationData(): boolean
  addRemoteCandidate(candidate: WeriftCandidate | undefined): Promise<void>
  setState(state: string): void
}

export interface IceTransport {
  readonly connection: IceAgent
  readonly role: 'controlling' | 'controlled' | 'unknown'
  readonly state: string
}

export interface WeriftCertificate {
  readonly certPem: string
  readonly privateKey: string
  readonly signatureHash: { readonly hash: number; readonly signature: number }
}

export interface DtlsTransport {
  readonly iceTransport: IceTransport
  readonly localCertificate: WeriftCertificate | undefined
  readonly remoteParameters: { fingerprints: { algorithm: string; value: string }[] } | undefined
  state: string
  role: 'auto' | 'client' | 'server'
  dtls: DtlsSocket | undefined
  dataReceiver: ((data: Buffer) => void) | undefined
  start(): Promise<void>
  sendData(data: Buffer): Promise<void>
  setState(state: string): void
}

/** A DTLS record on its way through werift: `encryptPacket` replaces the fragment. */
export interface PlaintextRecord {
  readonly recordLayerHeader: { contentType: number; epoch: number; sequenceNumber: number; contentLen: number }
  fragment: Buffer
}

/** One complete handshake message in the shape werift's flights keep. */
export interface HandshakeMessage {
  readonly msg_type: number
  readonly length: number
  readonly message_seq: number
  readonly fragment_offset: number
  readonly fragment_length: number
  readonly fragment: Buffer
  serialize(): Buffer
}

export interface DtlsSocket {
  readonly dtls: {
    flight: number
    lastMessage: Buffer[]
    readonly cookie: Buffer | undefined
    readonly sortedHandshakeCache: HandshakeMessage[]
  }
  readonly cipher: {
    readonly localRandom: { serialize(): Buffer }
    readonly namedCurve: number | undefined
    readonly masterSecret: Buffer | undefined
    readonly cipher:
      | { clientWriteKey: Buffer; serverWriteKey: Buffer; clientNonce: Buffer; serverNonce: Buffer }
      | undefined
    encryptPacket(record: PlaintextRecord): PlaintextRecord
  }
  connected: boolean
  readonly onHandleHandshakes: (messages: HandshakeMessage[]) => Promise<void>
}

export interface DtlsClient extends DtlsSocket {
  connect(): Promise<void>
}

export interface DtlsSocketOptions {
  cert: string
  key: string
  signatureHash: WeriftCertificate['signatureHash']
  transport: WeriftTransport
  srtpProfiles: number[]
  extendedMasterSecret: boolean
  certificateRequest: boolean
}

export interface WeriftDataChannelCore {
  readonly readyState: string
  readonly stateChange: WeriftEvent<[string]>
  close(): void
}

export interface WeriftPeerConnection {
  readonly connectionStateChange: WeriftEvent<[string]>
  readonly sctpManager: { createSctpTransport(...args: unknown[]): SctpTransport }
  readonly secureManager: {
    createTransport(...args: unknown[]): DtlsTransport
    readonly onIceCandidate: WeriftEvent<[{ toJSON(): WeriftCandidateInit }]>
  }
  gatherCandidates(): Promise<void>
  createDataChannel(label: string, options: { negotiated: true; id: number; ordered: boolean }): WeriftDataChannelCore
  createOffer(): Promise<{ type: string; sdp: string }>
  createAnswer(): Promise<{ type: string; sdp: string }>
  setLocalDescription(description: { type: string; sdp: string }): Promise<unknown>
  setRemoteDescription(description: { type: string; sdp: string }): Promise<void>
  close(): Promise<void>
}

export interface WeriftCandidateInit {
  readonly candidate: string
  readonly sdpMid?: string
  readonly sdpMLineIndex?: number
  readonly usernameFragment?: string
}

/** What is used of the package's exports. */
export interface WeriftModule {
  RTCPeerConnection: new (configuration: {
    certificates: WeriftCertificate[]
    iceServers: never[]
    iceTransportPolicy: 'all' | 'relay'
    bundlePolicy: 'max-bundle'
    maxMessageSize: number
  }) => WeriftPeerConnection
  RTCCertificate: new (
    keyPem: string,
    certPem: string,
    signatureHash: WeriftCertificate['signatureHash'],
  ) => WeriftCertificate
  CipherContext: {
    createSelfSignedCertificateWithKey(
      signatureHash: WeriftCertificate['signatureHash'],
      curve: number,
    ): Promise<{ keyPem: string; certPem: string; signatureHash: WeriftCertificate['signatureHash'] }>
  }
  DtlsClient: new (options: DtlsSocketOptions) => DtlsClient
  DtlsServer: new (options: DtlsSocketOptions) => DtlsSocket
  StunProtocol: new () => StunProtocol
  StunOverTurnProtocol: new (turn: TurnProtocol) => StunOverTurnProtocol
  TurnProtocol: new (
    server: TransportAddress,
    username: string,
    password: string,
    lifetimeSeconds: number,
    transport: WeriftTransport,
  ) => TurnProtocol
  TcpTransport: {
    init(server: TransportAddress, options: { connectTimeoutMs: number }): Promise<WeriftTransport>
  }
  TlsTransport: {
    init(
      server: TransportAddress,
      tls: { servername?: string },
      options: { connectTimeoutMs: number },
    ): Promise<WeriftTransport>
  }
  Candidate: {
    new (
      foundation: string,
      component: number,
      transport: string,
      priority: number,
      host: string,
      port: number,
      type: string,
      relatedAddress?: string,
      relatedPort?: number,
      tcpType?: string,
      generation?: number,
      ufrag?: string,
    ): WeriftCandidate
    fromSdp(line: string): WeriftCandidate
  }
  Message: new (method: number, messageClass: number) => StunMessage
  parseMessage(data: Buffer, integrityKey?: Buffer): StunMessage | undefined
  candidatePriority(type: string, options?: { transport: string }): number
  serverReflexiveCandidate(protocol: StunProtocol, server: TransportAddress): Promise<WeriftCandidate | undefined>
  getHostAddresses(ipv4: boolean, ipv6: boolean): string[]
  crc32c(data: Uint8Array): number
}

/** Loads werift. Node caches the module, so every call after the first is cheap. */
export async function loadWerift(): Promise<WeriftModule> {
  return (await import('werift')) as unknown as WeriftModule
}
