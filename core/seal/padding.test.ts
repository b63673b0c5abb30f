import { describe, expect, it } from 'vitest'
import { toHex } from '../bytes.ts'
import { seededRandom } from '../random.ts'
import { expectRefusal } from '../testing/refusal.fixture.ts'
import { MAX_PADDED_BYTES, pad, unpad } from './padding.ts'

describe('padding', () => {
  it.each([
    [0, 512],
    [508, 512],
    [509, 1_024],
    [1_020, 1_024],
    [1_021, 2_048],
    [2_044, 2_048],
    [2_045, 4_096],
    [4_092, 4_096],
    [4_093, 8_192],
    [8_189, 12_288],
    [MAX_PADDED_BYTES - 4, MAX_PADDED_BYTES],
  ])('takes %i bytes to %i and back', (length, size) => {
    const content = seededRandom(length).bytes(length)
    const padded = pad(content)
    expect(padded.length).toBe(size)
    expect(toHex(unpad(padded))).toBe(toHex(content))
  })

  it('refuses content that does not fit into 32 KiB', async () => {
    await expectRefusal(() => pad(new Uint8Array(MAX_PADDED_BYTES - 3)), 'SEAL_SIZE')
  })

  it('is refused when a byte of it is not zero, wherever it is', async () => {
    for (let index = 14; index < 512; index++) {
      const padded = pad(new Uint8Array(10).fill(7))
      padded[index] = 1
      await expectRefusal(() => unpad(padded), 'SEAL_PADDING')
    }
  })

  it.each([
    ['is missing', new Uint8Array(3)],
    ['is of no bucket', new Uint8Array(600)],
    ['is of a larger bucket than needed', new Uint8Array(1_024)],
    ['says more than is there', Uint8Array.of(0, 0, 2, 0, ...new Uint8Array(508))],
    ['says 2^32 - 1', Uint8Array.of(255, 255, 255, 255, ...new Uint8Array(508))],
  ])('is refused when it %s', async (_, padded) => {
    await expectRefusal(() => unpad(padded), 'SEAL_PADDING')
  })
})
