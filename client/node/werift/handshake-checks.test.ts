import { createHash, createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import {
  checkCertificateVerify,
  checkClientKeyExchange,
  checkFinished,
  checkServerKeyExchange,
  HandshakeFault,
  readCertificate,
  readClientHello,
  readServerHello,
} from './dtls-messages.ts'
import { HandshakeChecks } from './handshake-checks.ts'
import { CompleteHandshake } from './handshake-reassembly.ts'
import { type DtlsSocket, loadWerift } from './werift-internals.ts'

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey

function vector(lengthBytes: number, bytes: Buffer): Buffer {
  const length = Buffer.alloc(lengthBytes)
  length.writeUIntBE(bytes.length, 0, lengthBytes)
  return Buffer.concat([length, bytes])
}

function x25519Point(): Buffer {
  const { x } = generateKeyPairSync('x25519').publicKey.export({ format: 'jwk' }) as { x: string }
  return Buffer.from(x, 'base64url')
}

describe('ServerKeyExchange', () => {
  const proof = { key: publicKey, clientRandom: randomBytes(32), serverRandom: randomBytes(32) }
  const make = (point: Buffer, group = 29, scheme = 0x0403) => {
    const parameters = Buffer.concat([Buffer.from([3, 0, group]), vector(1, point)])
    const signature = sign('sha256', Buffer.concat([proof.clientRandom, proof.serverRandom, parameters]), privateKey)
    return Buffer.concat([parameters, Buffer.from([scheme >> 8, scheme & 255]), vector(2, signature)])
  }

  test('passes when it is signed over both randoms', () => {
    checkServerKeyExchange(make(x25519Point()), proof)
  })

  test.each<[string, () => Buffer, object]>([
    ['signed by another key', () => make(x25519Point()), { key: other }],
    ['of another connection', () => make(x25519Point()), { clientRandom: randomBytes(32) }],
    ['of a server that said another random', () => make(x25519Point()), { serverRandom: randomBytes(32) }],
    ['with a point that leads to no secret', () => make(Buffer.alloc(32)), {}],
    ['with a short point', () => make(x25519Point().subarray(1)), {}],
    ['on an unknown curve', () => make(x25519Point(), 24), {}],
    ['with a point beside the curve', () => make(Buffer.concat([Buffer.from([4]), Buffer.alloc(64, 1)]), 23), {}],
    ['signed with SHA-1', () => make(x25519Point(), 29, 0x0203), {}],
    ['with trailing bytes', () => Buffer.concat([make(x25519Point()), Buffer.alloc(1)]), {}],
    ['cut short', () => make(x25519Point()).subarray(0, 40), {}],
  ])('is refused when it is %s', (_, body, wrong) => {
    expect(() => checkServerKeyExchange(body(), { ...proof, ...wrong })).toThrow(HandshakeFault)
  })
})

describe('CertificateVerify', () => {
  const transcript = randomBytes(200)
  const body = Buffer.concat([Buffer.from([4, 3]), vector(2, sign('sha256', transcript, privateKey))])

  test('passes when it signs the transcript, and only then', () => {
    checkCertificateVerify(body, { key: publicKey, transcript })
    expect(() => checkCertificateVerify(body, { key: other, transcript })).toThrow(HandshakeFault)
    expect(() => checkCertificateVerify(body, { key: publicKey, transcript: randomBytes(200) })).toThrow(HandshakeFault)
  })
})

describe('Finished', () => {
  const proof = { masterSecret: randomBytes(48), transcript: randomBytes(300), sender: 'client' as const }
  const seed = Buffer.concat([Buffer.from('client finished'), createHash('sha256').update(proof.transcript).digest()])
  const hmac = (data: Buffer) => createHmac('sha256', proof.masterSecret).update(data).digest()
  const body = hmac(Buffer.concat([hmac(seed), seed])).subarray(0, 12)

  test('passes when both sides saw the same handshake, and only then', () => {
    checkFinished(body, proof)
    expect(() => checkFinished(body, { ...proof, sender: 'server' })).toThrow(HandshakeFault)
    expect(() => checkFinished(body, { ...proof, transcript: randomBytes(300) })).toThrow(HandshakeFault)
    expect(() => checkFinished(body.subarray(0, 11), proof)).toThrow(HandshakeFault)
    expect(() => checkFinished(Buffer.alloc(0), proof)).toThrow(HandshakeFault)
  })
})

describe('A hello', () => {
  const random = randomBytes(32)
  const ems = '00170000'
  const client = (extensions: string, suites = 'c02b', compression = '00', version = 'fefd') =>
    Buffer.concat([
      Buffer.from(version, 'hex'),
      random,
      Buffer.from('0000', 'hex'),
      vector(2, Buffer.from(suites, 'hex')),
      vector(1, Buffer.from(compression, 'hex')),
      vector(2, Buffer.from(extensions, 'hex')),
    ])
  const usual = `000a00040002001d000d000400020403${ems}`

  test('of a client is read when it offers what is needed', () => {
    expect(readClientHello(client(usual))).toMatchObject({ random, groups: [29] })
  })

  test.each<[string, Buffer]>([
    ['no extended master secret', client('000a00040002001d000d000400020403')],
    ['no common group', client(`000a000400020018000d000400020403${ems}`)],
    ['no ECDSA', client(`000a00040002001d000d000400020401${ems}`)],
    ['another cipher suite', client(usual, 'c02f')],
    ['only compression', client(usual, 'c02b', '01')],
    ['DTLS 1.0', client(usual, 'c02b', '00', 'feff')],
    ['an extension twice', client(usual + ems)],
    ['an odd list of suites', client(usual, 'c02bc0')],
    ['nothing', Buffer.alloc(0)],
  ])('of a client is refused with %s', (_, body) => {
    expect(() => readClientHello(body)).toThrow(HandshakeFault)
  })

  test('of a server is refused when it chooses what was not offered', () => {
    const server = (suite: string, compression: string, extensions: string) =>
      Buffer.concat([
        Buffer.from('fefd', 'hex'),
        random,
        Buffer.from(`00${suite}${compression}`, 'hex'),
        vector(2, Buffer.from(extensions, 'hex')),
      ])
    expect(readServerHello(server('c02b', '00', ems))).toEqual(random)
    for (const wrong of [server('c02f', '00', ems), server('c02b', '01', ems), server('c02b', '00', '')]) {
      expect(() => readServerHello(wrong)).toThrow(HandshakeFault)
    }
  })
})

describe('A certificate', () => {
  async function certificate(): Promise<Buffer> {
    const { CipherContext } = await loadWerift()
    const { certPem } = await CipherContext.createSelfSignedCertificateWithKey({ hash: 4, signature: 3 }, 23)
    return Buffer.from(certPem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
  }

  test('gives its key when it has the fingerprint, and nothing otherwise', async () => {
    const der = await certificate()
    const body = vector(3, vector(3, der))
    const fingerprint = createHash('sha256').update(der).digest()
    expect(readCertificate(body, fingerprint).asymmetricKeyType).toBe('ec')
    expect(() => readCertificate(body, randomBytes(32))).toThrow(HandshakeFault)
    expect(() => readCertificate(vector(3, Buffer.alloc(0)), fingerprint)).toThrow(HandshakeFault)
  })
})

describe('The order of the handshake', () => {
  const socket = { dtls: { sortedHandshakeCache: [] }, cipher: { namedCurve: 29 } } as unknown as DtlsSocket
  const ALL = [0, 1, 2, 3, 4, 11, 12, 13, 14, 15, 16, 20, 23]

  test.each([
    ['client', [2, 3]],
    ['server', [11]],
  ] as const)('lets a %s begin with nothing but %j', (role, allowed) => {
    for (const type of ALL.filter((candidate) => !(allowed as readonly number[]).includes(candidate))) {
      const checks = new HandshakeChecks(role, socket, Buffer.alloc(32))
      expect(() => checks.check(new CompleteHandshake(type, 0, Buffer.alloc(12)), type === 20)).toThrow(/out of order/)
    }
  })

  test('refuses a message that is encrypted where it must not be', () => {
    const checks = new HandshakeChecks('server', socket, Buffer.alloc(32))
    expect(() => checks.check(new CompleteHandshake(11, 0, Buffer.alloc(12)), true)).toThrow(/out of order/)
  })

  test('refuses the key exchange point of a client on another curve', () => {
    checkClientKeyExchange(vector(1, x25519Point()), 29)
    expect(() => checkClientKeyExchange(vector(1, x25519Point()), 23)).toThrow(HandshakeFault)
  })
})
