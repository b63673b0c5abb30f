import type { PairSide } from './loopback-pair.fixture.ts'
import type { SctpAssociation } from './werift-association.ts'
import { type DtlsTransport, loadWerift, type StunProtocol, type WeriftCertificate } from './werift-internals.ts'

/**
 * werift as it is: the attacker in the tests, because its insides can be made to say anything, and on request the target.
 */
export interface StockPeer {
  readonly connection: PairSide
  /** The transport, once a channel has been created. */
  transport(): DtlsTransport
  association(): SctpAssociation
  /** Sends one datagram from the very socket and address the target knows as its peer. */
  sendDatagram(data: Buffer): void
}

interface StockConnection extends PairSide {
  readonly dtlsTransports: DtlsTransport[]
  readonly sctpTransport: { readonly sctp: SctpAssociation } | undefined
}

/** `certificate`: presented instead of werift's own. */
export async function createStockPeer(certificate?: WeriftCertificate): Promise<StockPeer> {
  const werift = await loadWerift()
  const configuration = {
    iceServers: [],
    iceTransportPolicy: 'all',
    bundlePolicy: 'max-bundle',
    maxMessageSize: 65_536,
    certificates: certificate === undefined ? [] : [certificate],
    iceAdditionalHostAddresses: ['127.0.0.1'],
    iceFilterCandidatePair: (pair: { localCandidate: { host: string }; remoteCandidate: { host: string } }) =>
      pair.localCandidate.host === '127.0.0.1' && pair.remoteCandidate.host === '127.0.0.1',
  } as never
  const connection = new werift.RTCPeerConnection(configuration) as unknown as StockConnection
  const transport = () => connection.dtlsTransports[0]!
  return {
    connection,
    transport,
    association: () => connection.sctpTransport!.sctp,
    sendDatagram: (data) => {
      const pair = transport().iceTransport.connection.nominated!
      const { host, port } = pair.remoteCandidate
      void (pair.protocol as StunProtocol).transport.send(data, [host, port])
    },
  }
}

/** Keeps a stock connection from asking the public STUN server. Nothing to do for a hardened one. */
export function connectStockPeer(connection: PairSide): void {
  const { dtlsTransports } = connection as Partial<StockConnection>
  for (const transport of dtlsTransports ?? []) transport.iceTransport.connection.stunServer = undefined
}

/** The certificate of another, with a key that does not belong to it. */
export async function stolenCertificate(): Promise<WeriftCertificate> {
  const werift = await loadWerift()
  const make = () => werift.CipherContext.createSelfSignedCertificateWithKey({ hash: 4, signature: 3 }, 23)
  const [owner, thief] = [await make(), await make()]
  return new werift.RTCCertificate(thief.keyPem, owner.certPem, owner.signatureHash)
}
