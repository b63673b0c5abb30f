import { describe, expect, it } from 'vitest'
import { concatBytes, toHex, utf8Encode } from '../bytes.ts'
import { bitFlips, expectRefusal } from '../testing/refusal.fixture.ts'
import type { SigningKey } from './ed25519.ts'
import { signingKeyFromSeed } from './ed25519.ts'
import type { StatementName } from './statement.ts'
import { signStatement, statementBytes, verifyStatement } from './statement.ts'

const NAMES: readonly StatementName[] = [
  'session-client',
  'session-server',
  'session-node',
  'origin-state',
  'membership',
  'signal',
  'credential',
  'alias',
]

async function signer(): Promise<SigningKey> {
  return signingKeyFromSeed(new Uint8Array(32).fill(1))
}

const bytes = utf8Encode('statement')

describe('signed statements', () => {
  it('sign u8(length) || label || bytes', () => {
    const label = utf8Encode('mesh/1 membership')
    expect(toHex(statementBytes('membership', bytes))).toBe(toHex(concatBytes(Uint8Array.of(17), label, bytes)))
  })

  it('verify under their own name and under no other', async () => {
    const key = await signer()
    for (const name of NAMES) {
      const signature = await signStatement(key, name, bytes)
      for (const other of NAMES) {
        const verified = verifyStatement(key.publicKey, other, bytes, signature)
        if (other === name) await verified
        else await expectRefusal(() => verified, 'SIGNATURE_INVALID')
      }
    }
  })

  it('are refused when the signature has no label', async () => {
    const key = await signer()
    const signature = await key.sign(bytes)
    await expectRefusal(() => verifyStatement(key.publicKey, 'membership', bytes, signature), 'SIGNATURE_INVALID')
  })

  it('are refused when any bit of the statement is flipped', async () => {
    const key = await signer()
    const signature = await signStatement(key, 'alias', bytes)
    for (const { flipped } of bitFlips(bytes)) {
      await expectRefusal(() => verifyStatement(key.publicKey, 'alias', flipped, signature), 'SIGNATURE_INVALID')
    }
  })

  it('are refused when another key signed', async () => {
    const other = await signingKeyFromSeed(new Uint8Array(32).fill(2))
    const signature = await signStatement(other, 'alias', bytes)
    const { publicKey } = await signer()
    await expectRefusal(() => verifyStatement(publicKey, 'alias', bytes, signature), 'SIGNATURE_INVALID')
  })

  it.each([0, 32, 63, 65])('are refused when the signature has %i bytes', async (length) => {
    const { publicKey } = await signer()
    const attempt = verifyStatement(publicKey, 'alias', bytes, new Uint8Array(length))
    await expectRefusal(() => attempt, 'SIGNATURE_INVALID')
  })

  it('say that the key is at fault when it is', async () => {
    const signature = await signStatement(await signer(), 'alias', bytes)
    await expectRefusal(() => verifyStatement(new Uint8Array(32), 'alias', bytes, signature), 'KEY_INVALID')
    await expectRefusal(() => verifyStatement(new Uint8Array(31), 'alias', bytes, signature), 'KEY_INVALID')
  })
})
