/**
 * Node reads nothing from an HTTP/2 connection while a write to it is under way (`Http2Session::MaybeStopReading`). A megabyte takes a
 * slow line many seconds, and all that time pings and their answers would go unread. 32 KiB are a quarter of a second at 1 Mbit/s.
 */
const PIECE_BYTES = 32 * 1_024

/** The chunk in pieces, each of which is to be taken by the connection before the next is written. */
export function* piecesOf(chunk: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < chunk.length; at += PIECE_BYTES) yield chunk.subarray(at, at + PIECE_BYTES)
}

/** A body with every chunk in pieces. */
export async function* inPieces(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) yield* piecesOf(chunk)
}
