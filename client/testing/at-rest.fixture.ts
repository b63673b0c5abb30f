import { VirtualClock } from '@mesh/core'

/**
 * A clock for tests of code that uses WebCrypto: it moves only when everything has come to rest. WebCrypto works in a thread
 * pool, so rest means that no operation of it is pending and nothing follows from the last one.
 */
export function restingClock(startWallMs?: number): VirtualClock {
  return new VirtualClock(startWallMs, { settle: atRest })
}

const CRYPTO_CALLS = [
  'sign',
  'verify',
  'encrypt',
  'decrypt',
  'deriveBits',
  'deriveKey',
  'importKey',
  'exportKey',
  'generateKey',
  'digest',
]

let pendingCalls = 0

function countCalls(): void {
  const subtle = crypto.subtle as unknown as Record<string, (...parameters: unknown[]) => Promise<unknown>>
  for (const name of CRYPTO_CALLS) {
    const original = subtle[name]?.bind(crypto.subtle)
    if (!original) continue
    subtle[name] = (...parameters) => {
      pendingCalls++
      return original(...parameters).finally(() => pendingCalls--)
    }
  }
}
countCalls()

/** Resolves when no WebCrypto call is pending and three turns of the event loop started none. */
export async function atRest(): Promise<void> {
  for (let quietTurns = 0; quietTurns < 3; quietTurns++) {
    await new Promise((resolve) => setImmediate(resolve))
    if (pendingCalls > 0) quietTurns = -1
  }
}
