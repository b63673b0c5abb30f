import { Code, ConnectError } from '@connectrpc/connect'
import { ErrorReason, MeshError } from '@mesh/core'
import { ErrorDetailSchema } from '@mesh/protocol/mesh/signal/v1/error_pb'
import { describe, expect, it } from 'vitest'
import { fromCallError } from './call-error.ts'

const ORIGIN = 'https://mesh.example'

function withDetail(code: Code, error: MeshError): ConnectError {
  return new ConnectError(error.message, code, undefined, [{ desc: ErrorDetailSchema, value: error.toDetail() }])
}

describe('fromCallError', () => {
  it('leaves a MeshError as it is', () => {
    const error = new MeshError(ErrorReason.SIGNATURE_INVALID, 'forged')
    expect(fromCallError(error, ORIGIN)).toBe(error)
  })

  it('goes by the typed detail of the server, whatever the code says', () => {
    const detail = new MeshError(ErrorReason.LIMIT_EXCEEDED, 'slower', {
      limit: 'joins_per_second',
      limitValue: 1,
      retryAfterMs: 700,
    })
    expect(fromCallError(withDetail(Code.Internal, detail), ORIGIN)).toMatchObject({
      reason: ErrorReason.LIMIT_EXCEEDED,
      message: 'slower',
      limit: 'joins_per_second',
      limitValue: 1n,
      retryAfterMs: 700,
      retryable: true,
    })
    const final = withDetail(Code.Unavailable, new MeshError(ErrorReason.KEY_INVALID, 'no'))
    expect(fromCallError(final, ORIGIN)).toMatchObject({ reason: ErrorReason.KEY_INVALID, retryable: false })
  })

  it.each([
    ['a deadline', new ConnectError('late', Code.DeadlineExceeded), 'DEADLINE_EXCEEDED'],
    ['a lost connection', new ConnectError('aborted', Code.Aborted), 'UNREACHABLE'],
    ['a killed server', new ConnectError('canceled', Code.Canceled), 'UNREACHABLE'],
    ['a proxy that knows no such path', new ConnectError('HTTP 404', Code.Unimplemented), 'UNREACHABLE'],
    ['a failed fetch', new TypeError('fetch failed'), 'UNREACHABLE'],
  ])('takes %s for something that passes', (_what, thrown, reasonName) => {
    const error = fromCallError(thrown, ORIGIN)
    expect(error).toMatchObject({ reasonName, retryable: true, cause: thrown })
    expect(error.message).toContain(ORIGIN)
  })

  it('says why the caller aborted, not what the transport made of it', () => {
    const thrown = new ConnectError('canceled', Code.Canceled)
    const reason = new MeshError(ErrorReason.SESSION_CLOSED, 'closed')
    expect(fromCallError(thrown, ORIGIN, AbortSignal.abort(reason))).toBe(reason)
    expect(fromCallError(thrown, ORIGIN, AbortSignal.abort('bored'))).toMatchObject({
      reason: ErrorReason.ABORTED,
      cause: 'bored',
    })
    expect(fromCallError(thrown, ORIGIN, new AbortController().signal).reason).toBe(ErrorReason.UNREACHABLE)
  })
})
