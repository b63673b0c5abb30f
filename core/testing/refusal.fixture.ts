import type { DescMessage, MessageShape } from '@bufbuild/protobuf'
import { equals, fromBinary, toBinary } from '@bufbuild/protobuf'
import { expect } from 'vitest'
import { type ErrorReason, MeshError } from '../error.ts'

/** Runs what must be refused and returns the name of the reason, so that a failing test shows the other one. */
export async function reasonOf(attempt: () => unknown): Promise<string> {
  try {
    await attempt()
  } catch (error) {
    if (error instanceof MeshError) return error.reasonName
    throw error
  }
  return 'accepted'
}

/** Asserts that the attempt is refused with exactly this reason. */
export async function expectRefusal(attempt: () => unknown, reason: keyof typeof ErrorReason): Promise<void> {
  expect(await reasonOf(attempt)).toBe(reason)
}

/** Every copy of `bytes` with one bit flipped. */
export function* bitFlips(bytes: Uint8Array): Generator<{ bit: number; flipped: Uint8Array<ArrayBuffer> }> {
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Uint8Array.from(bytes)
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
    yield { bit, flipped }
  }
}

/**
 * Tries every message that comes out when one bit of a serialised message is flipped: how many there were, and the bits
 * that were accepted all the same. Left out are flips that no longer parse, and the few that parse to an equal message:
 * the decoder does not look at the wire type of fields it knows, so two bits of each tag carry nothing.
 */
export async function tryBitFlips<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  attempt: (mutated: MessageShape<Desc>) => Promise<unknown>,
): Promise<{ tried: number; acceptedBits: number[] }> {
  const pending: Promise<void>[] = []
  const acceptedBits: number[] = []
  let tried = 0
  for (const { bit, flipped } of bitFlips(toBinary(schema, message))) {
    const mutated = parseOrUndefined(schema, flipped)
    if (mutated === undefined || equals(schema, mutated, message)) continue
    tried += 1
    const note = (reason: string): void => void (reason === 'accepted' && acceptedBits.push(bit))
    pending.push(reasonOf(() => attempt(mutated)).then(note))
    // Enough at once to keep every thread of WebCrypto busy.
    if (pending.length >= 32) await Promise.all(pending.splice(0))
  }
  await Promise.all(pending)
  return { tried, acceptedBits }
}

/** Undefined for what the parser refuses before anything of ours sees it. */
function parseOrUndefined<Desc extends DescMessage>(schema: Desc, bytes: Uint8Array): MessageShape<Desc> | undefined {
  try {
    return fromBinary(schema, bytes)
  } catch {
    return undefined
  }
}
