import { createRequire } from 'node:module'
import { describe, expect, it } from 'vitest'
import { toHex } from '../bytes.ts'
import { seededRandom } from '../random.ts'
import { discoveryKey } from './topic.ts'

// Node only, CommonJS and without types: hypercore-crypto is native code underneath.
const hypercoreCrypto = createRequire(import.meta.url)('hypercore-crypto') as {
  discoveryKey(publicKey: Buffer): Buffer
}

describe('discovery keys', () => {
  it("equal hypercore-crypto's for any key", () => {
    const random = seededRandom(1)
    for (let round = 0; round < 50; round++) {
      const key = random.bytes(32)
      expect(toHex(discoveryKey(key))).toBe(toHex(hypercoreCrypto.discoveryKey(Buffer.from(key))))
    }
  })
})
