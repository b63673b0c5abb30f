import { isAllZero } from '../bytes.ts'
import { ErrorReason, MeshError } from '../error.ts'

/**
 * Padding hides what kind of signal travels: u32be(length) || content || zeros, to the smallest of 512, 1024, 2048,
 * 4096 and multiples of 4096 bytes that fits.
 */

/** 32 KiB: a Hello with a 2 KiB record is below 4 KiB; the rest is room for what later versions put in. */
export const MAX_PADDED_BYTES = 32_768

const LENGTH_BYTES = 4
const SMALL_BUCKETS_BYTES: readonly number[] = [512, 1_024, 2_048, 4_096]
const LARGE_BUCKET_BYTES = 4_096

/** @throws MeshError SEAL_SIZE when the content does not fit into 32 KiB */
export function pad(content: Uint8Array): Uint8Array<ArrayBuffer> {
  const size = bucketFor(content.length)
  if (size > MAX_PADDED_BYTES) {
    throw new MeshError(ErrorReason.SEAL_SIZE, 'The signal is too large to be sealed', {
      limit: 'max_padded_bytes',
      limitValue: MAX_PADDED_BYTES,
      value: content.length,
    })
  }
  const padded = new Uint8Array(size)
  new DataView(padded.buffer).setUint32(0, content.length)
  padded.set(content, LENGTH_BYTES)
  return padded
}

/** @throws MeshError SEAL_PADDING for an impossible length, the wrong bucket, or padding that is not zero */
export function unpad(padded: Uint8Array): Uint8Array {
  if (padded.length < LENGTH_BYTES) throw wrong('shorter than its length field', padded.length)
  const length = new DataView(padded.buffer, padded.byteOffset).getUint32(0)
  if (length > padded.length - LENGTH_BYTES) throw wrong('longer than the message, by its own account', length)
  if (padded.length !== bucketFor(length)) throw wrong('not the smallest size that fits', padded.length)
  if (!isAllZero(padded.subarray(LENGTH_BYTES + length))) throw wrong('not zero', padded.length)
  return padded.subarray(LENGTH_BYTES, LENGTH_BYTES + length)
}

function bucketFor(contentBytes: number): number {
  const bytes = contentBytes + LENGTH_BYTES
  const small = SMALL_BUCKETS_BYTES.find((size) => bytes <= size)
  return small ?? Math.ceil(bytes / LARGE_BUCKET_BYTES) * LARGE_BUCKET_BYTES
}

function wrong(how: string, value: number): MeshError {
  return new MeshError(ErrorReason.SEAL_PADDING, `The padding is ${how}`, { value })
}
