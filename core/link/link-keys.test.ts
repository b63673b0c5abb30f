import { beforeAll, describe, expect, it } from 'vitest'
import { fromHex, toHex } from '../bytes.ts'
import { seededRandom } from '../random.ts'
import type { Cast } from '../testing/cast.fixture.ts'
import { assembleCast } from '../testing/cast.fixture.ts'
import { bitFlips, expectRefusal } from '../testing/refusal.fixture.ts'
import type { LinkAgreement } from './link-keys.ts'
import { attachEvidence, deriveLinkKeys, deriveLinkSecrets, verifyAttachEvidence } from './link-keys.ts'

let cast: Cast
let agreement: LinkAgreement & { psk: Uint8Array }

beforeAll(async () => {
  cast = await assembleCast()
  const random = seededRandom(1)
  agreement = {
    exportHello: random.bytes(32),
    exportHelloReply: random.bytes(32),
    connectionId: random.bytes(16),
    topic: cast.party.topic,
    lowerKey: cast.alice.key.publicKey,
    higherKey: cast.bob.key.publicKey,
    lowerSessionId: cast.alice.sessionId,
    higherSessionId: cast.bob.sessionId,
    psk: cast.party.psk,
  }
})

describe('link keys', () => {
  it('are symmetric: each end opens what the other seals, and not what it sealed itself', async () => {
    const alice = await deriveLinkKeys({ ...agreement, role: 'lower' })
    const bob = await deriveLinkKeys({ ...agreement, role: 'higher' })
    expect(toHex(alice.transcriptHash)).toBe(toHex(bob.transcriptHash))
    expect(toHex(await bob.receive.open(await alice.send.seal(Uint8Array.of(1))))).toBe('01')
    expect(toHex(await alice.receive.open(await bob.send.seal(Uint8Array.of(2))))).toBe('02')
    const own = await alice.send.seal(Uint8Array.of(3))
    await expectRefusal(() => alice.receive.open(own), 'LINK_OPEN')
  })

  it('follow HKDF-SHA256 (RFC 5869), computed here from HMAC alone', async () => {
    const hmac = async (key: Uint8Array, ...parts: Uint8Array[]): Promise<Uint8Array<ArrayBuffer>> => {
      const hash = { name: 'HMAC', hash: 'SHA-256' }
      const imported = await crypto.subtle.importKey('raw', Uint8Array.from(key), hash, false, ['sign'])
      return new Uint8Array(await crypto.subtle.sign('HMAC', imported, Uint8Array.from(parts.flatMap((p) => [...p]))))
    }
    const pskHash = new Uint8Array(await crypto.subtle.digest('SHA-256', Uint8Array.from(agreement.psk)))
    const { topic, lowerKey, higherKey, lowerSessionId, higherSessionId } = agreement
    const label = new TextEncoder().encode('mesh/1 link')
    const info = [label, topic, lowerKey, higherKey, lowerSessionId, higherSessionId, pskHash]
    const prk = await hmac(agreement.connectionId, agreement.exportHello, agreement.exportHelloReply)
    const first = await hmac(prk, ...info, Uint8Array.of(1))
    const second = await hmac(prk, first, ...info, Uint8Array.of(2))
    expect(toHex(await deriveLinkSecrets(agreement))).toBe(toHex(first) + toHex(second))
  })

  it('depend on every input', async () => {
    const usual = toHex(await deriveLinkSecrets(agreement))
    const outcomes = new Set([usual])
    const random = seededRandom(2)
    const changes: Partial<LinkAgreement>[] = [
      { exportHello: random.bytes(32) },
      { exportHelloReply: random.bytes(32) },
      { exportHello: agreement.exportHelloReply, exportHelloReply: agreement.exportHello },
      { connectionId: random.bytes(16) },
      { topic: random.bytes(32) },
      { lowerKey: fromHex('00'.repeat(32)) },
      { higherKey: fromHex('ff'.repeat(32)) },
      { lowerSessionId: random.bytes(16) },
      { higherSessionId: random.bytes(16) },
      { lowerSessionId: agreement.higherSessionId, higherSessionId: agreement.lowerSessionId },
      { psk: random.bytes(32) },
      { psk: undefined },
    ]
    for (const change of changes) outcomes.add(toHex(await deriveLinkSecrets({ ...agreement, ...change })))
    expect(outcomes.size).toBe(changes.length + 1)
  })

  it('are not derived when an input has another length, or the keys are in the wrong order', async () => {
    for (const name of Object.keys(agreement)) {
      const change = { [name]: new Uint8Array(31).fill(1) }
      await expectRefusal(() => deriveLinkSecrets({ ...agreement, ...change }), 'INVALID_ARGUMENT')
    }
    const { lowerKey, higherKey } = agreement
    const swapped = { ...agreement, lowerKey: higherKey, higherKey: lowerKey }
    await expectRefusal(() => deriveLinkSecrets(swapped), 'INVALID_ARGUMENT')
    await expectRefusal(() => deriveLinkSecrets({ ...agreement, higherKey: lowerKey }), 'INVALID_ARGUMENT')
  })
})

describe('attach evidence', () => {
  const transcriptHash = new Uint8Array(32).fill(8)

  it('is accepted from the peer on the link it was made for', async () => {
    const evidence = await attachEvidence(cast.party.psk, cast.alice.key.publicKey, transcriptHash)
    const accepted = await verifyAttachEvidence(cast.party.psk, cast.alice.key.publicKey, transcriptHash, evidence)
    expect(accepted).toBe(true)
  })

  it('is refused for another peer, link or party, and when it is cut or extended', async () => {
    const { psk } = cast.party
    const peer = cast.alice.key.publicKey
    const evidence = await attachEvidence(psk, peer, transcriptHash)
    const refused = [
      verifyAttachEvidence(psk, cast.bob.key.publicKey, transcriptHash, evidence),
      verifyAttachEvidence(psk, peer, new Uint8Array(32), evidence),
      verifyAttachEvidence(new Uint8Array(32), peer, transcriptHash, evidence),
      verifyAttachEvidence(psk, peer, transcriptHash, evidence.subarray(1)),
      verifyAttachEvidence(psk, peer, transcriptHash, new Uint8Array([...evidence, 0])),
      verifyAttachEvidence(psk, peer, transcriptHash, new Uint8Array()),
    ]
    expect(await Promise.all(refused)).toEqual(refused.map(() => false))
  })

  it('is refused when any of its bits is flipped', async () => {
    const { psk } = cast.party
    const peer = cast.alice.key.publicKey
    for (const { flipped } of bitFlips(await attachEvidence(psk, peer, transcriptHash))) {
      expect(await verifyAttachEvidence(psk, peer, transcriptHash, flipped)).toBe(false)
    }
  })

  it('is not made over inputs of another length', async () => {
    const { psk } = cast.party
    const peer = cast.alice.key.publicKey
    await expectRefusal(() => attachEvidence(psk, peer.subarray(1), transcriptHash), 'INVALID_ARGUMENT')
    await expectRefusal(() => attachEvidence(psk, peer, new Uint8Array(33)), 'INVALID_ARGUMENT')
    await expectRefusal(() => attachEvidence(psk.subarray(1), peer, transcriptHash), 'INVALID_ARGUMENT')
  })
})
