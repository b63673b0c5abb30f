/**
 * What two servers say to each other, as `@grpc/proto-loader` makes it from proto/ at run time: bytes are Buffers, enums
 * are names, 64 bit numbers are decimal text, and `frame` names the one that is set.
 */
import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto'
import { join } from 'node:path'
import { type ClientDuplexStream, loadPackageDefinition } from '@grpc/grpc-js'
import { loadSync, type MessageTypeDefinition } from '@grpc/proto-loader'

export type Channel = 'CHANNEL_DIRECTORY' | 'CHANNEL_MESSAGES'

export interface Frame {
  readonly frame?: string
  readonly hello?: Hello
  readonly proof?: { readonly proof: SignedStatement }
  readonly originState?: OriginState
  readonly rows?: Rows
  readonly pull?: { readonly after: OriginPosition }
  readonly envelopes?: { readonly envelopes: readonly RoutedEnvelope[] }
  readonly receipts?: { readonly receipts: readonly Receipt[] }
  readonly credit?: { readonly frames: number }
  readonly goaway?: { readonly deadlineMs: number; readonly error: ErrorDetail | null }
}

export interface SignedStatement {
  readonly statement: Buffer
  readonly signature: Buffer
}

export interface Hello {
  readonly version: number
  readonly serverKey: Buffer
  readonly realm: string
  readonly channel: Channel
  readonly epoch: string
  readonly have: readonly OriginPosition[]
  readonly challenge: Buffer
  readonly limits: FederationLimits
  readonly credit: number
}

export interface FederationLimits {
  readonly recordsPerSecond: number
  readonly messagesPerSecond: number
  readonly maxRequestBytes: number
  readonly maxRows: number | string
  readonly maxLeaseMs: number
}

export interface NodeProof {
  readonly version: number
  readonly challenge: Buffer
  readonly serverKey: Buffer
  readonly peerServerKey: Buffer
  readonly realm: string
  readonly channel: Channel
  readonly epoch: string
}

export interface OriginPosition {
  readonly origin: Buffer
  readonly epoch: string
  readonly seq: string
}

export interface OriginState {
  readonly origin: Buffer
  readonly epoch: string
  readonly headSeq: string
  readonly rowCount: string
  readonly digest: Buffer
  readonly leaseMs: number
  readonly beat: string
}

export interface Rows {
  readonly origin: Buffer
  readonly epoch: string
  readonly fromSeq: string
  readonly toSeq: string
  readonly snapshot?: { readonly snapshotId: string; readonly page: number; readonly pageCount: number } | null
  readonly rows: readonly Row[]
}

export interface Row {
  readonly topic: Buffer
  readonly peerKey: Buffer
  readonly sessionOrder: string
  readonly gone?: boolean
  readonly reason?: string
  readonly record?: SignedRecord | null
}

export interface SignedRecord {
  readonly record: Buffer
  readonly signature: Buffer
}

export interface RoutedEnvelope {
  /** A serialised Envelope: passed on as it came, read where its recipient is. */
  readonly envelope: Buffer
  readonly attempt: string
}

export interface Envelope {
  readonly id: Buffer
  readonly to: Buffer
  readonly topic: Buffer
  readonly payload: Buffer
  readonly from: Buffer
  readonly fromSession: Buffer
}

export interface Receipt {
  readonly attempt: string
  readonly status: string
  readonly error?: ErrorDetail | null
}

export interface ErrorDetail {
  readonly reason: string
  readonly limit?: string
  readonly limitValue?: string
  readonly value?: string
}

const definition = loadSync('mesh/federation/v1/federation_service.proto', {
  includeDirs: [join(import.meta.dirname, '../../proto')],
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
})

/** One call of Replicate: messages of frames, both ways. */
export type ReplicateCall = ClientDuplexStream<{ frames: readonly Frame[] }, { frames: readonly Frame[] }>

interface FederationClient {
  Replicate(): ReplicateCall
  close(): void
}

/** The client that grpc-js makes of the service. */
export const FederationService = (
  loadPackageDefinition(definition) as unknown as {
    mesh: {
      federation: {
        v1: { FederationService: new (address: string, security: unknown, options: object) => FederationClient }
      }
    }
  }
).mesh.federation.v1.FederationService

/** Serialises what is about to be signed. These bytes travel as they are and are never made again from the message. */
export function encode(type: string, message: object): Buffer {
  return (definition[type] as MessageTypeDefinition<object, object>).serialize(message)
}

export function decode<T>(type: string, bytes: Buffer): T {
  return (definition[type] as unknown as MessageTypeDefinition<T, T>).deserialize(bytes)
}

/** An Ed25519 key pair, of a server or of a peer. */
export class Key {
  readonly #pair = generateKeyPairSync('ed25519')
  readonly publicKey = Buffer.from(this.#pair.publicKey.export({ format: 'jwk' }).x as string, 'base64url')

  /** The signature of a statement under its name, as protocol.md ("Signed statements") has it. */
  sign(name: string, statement: Buffer): Buffer {
    return sign(null, labelled(name, statement), this.#pair.privateKey)
  }
}

export function isSignedBy(publicKey: Buffer, name: string, { statement, signature }: SignedStatement): boolean {
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: publicKey.toString('base64url') }
  return verify(null, labelled(name, statement), createPublicKey({ key: jwk, format: 'jwk' }), signature)
}

function labelled(name: string, statement: Buffer): Buffer {
  const label = Buffer.from(`mesh/1 ${name}`)
  return Buffer.concat([Buffer.of(label.length), label, statement])
}
