import { constants } from 'node:http2'
import type { NodeResponse } from './request.ts'

/**
 * For calls in which the client streams: it need not notice that nobody reads any more, and would hold its connection open. A
 * complete response may be followed by a reset without error (RFC 9113 section 8.1); trailers are a part of it.
 */
export function resetAfterEnd(response: NodeResponse): void {
  if (!('stream' in response)) return
  const { stream } = response
  // The response answers 'wantTrailers' with its trailers, if it has any; they are on their way a turn later.
  stream.once('wantTrailers', () =>
    setImmediate(() => {
      stream.close(constants.NGHTTP2_NO_ERROR)
      // What came and was not read is dropped: a stream waits for its reader, and with it the connection.
      stream.resume()
    }),
  )
}
