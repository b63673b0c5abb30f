import { expect, test } from 'vitest'
import { inPieces, piecesOf } from './http2-pieces.ts'

const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => index % 251)

test.each([0, 1, 32_768, 32_769, 100_000])(
  'a chunk of %d bytes is the sum of its pieces, none above 32 KiB',
  (length) => {
    const pieces = [...piecesOf(bytes(length))]
    expect(Buffer.concat(pieces).equals(bytes(length))).toBe(true)
    expect(pieces.length).toBe(Math.ceil(length / 32_768))
  },
)

test('a body is asked for its next chunk when the last piece of the one before was taken', async () => {
  let asked = 0
  const body = (async function* () {
    for (; asked < 3; ) {
      asked += 1
      yield bytes(50_000)
    }
  })()
  const seen: [number, number][] = []
  for await (const piece of inPieces(body)) seen.push([asked, piece.length])
  expect(seen).toEqual(
    [1, 2, 3].flatMap((chunk) => [
      [chunk, 32_768],
      [chunk, 17_232],
    ]),
  )
})
