import { create } from '@bufbuild/protobuf'
import { ErrorDetailSchema } from '@mesh/protocol/mesh/signal/v1/error_pb'
import { describe, expect, it } from 'vitest'
import { ErrorReason, MeshError } from './error.ts'

describe('MeshError', () => {
  it('survives the wire when it carries every fact', () => {
    const error = new MeshError(ErrorReason.LIMIT_EXCEEDED, 'too many', {
      limit: 'joins_per_second',
      limitValue: 1,
      value: 2n,
      retryAfterMs: 700.2,
      cause: new Error('secret'),
    })
    const detail = error.toDetail()
    expect(detail).toMatchObject({ limit: 'joins_per_second', limitValue: 1n, value: 2n, retryAfterMs: 701n })
    const received = MeshError.fromDetail(detail)
    expect(received).toMatchObject({
      reason: ErrorReason.LIMIT_EXCEEDED,
      reasonName: 'LIMIT_EXCEEDED',
      limit: 'joins_per_second',
      limitValue: 1n,
      value: 2n,
      retryAfterMs: 701,
      retryable: true,
    })
    expect(received.cause).toBeUndefined()
  })

  it('leaves facts undefined when the detail does not give them', () => {
    const received = MeshError.fromDetail(create(ErrorDetailSchema, { reason: ErrorReason.RECORD_STALE }), 'old')
    expect(received).toMatchObject({ limit: undefined, limitValue: undefined, value: undefined, retryAfterMs: 0 })
    expect(received.message).toBe('old')
  })

  it('keeps an unknown reason when it is newer than this code', () => {
    const received = MeshError.fromDetail(create(ErrorDetailSchema, { reason: 9_999 as ErrorReason }))
    expect(received.reasonName).toBe('UNKNOWN_9999')
    expect(received.toDetail().reason).toBe(9_999)
  })

  it('bounds the advice to wait when a detail asks for ages', () => {
    const detail = create(ErrorDetailSchema, { reason: ErrorReason.DRAINING, retryAfterMs: 2n ** 64n - 1n })
    expect(MeshError.fromDetail(detail).retryAfterMs).toBe(86_400_000)
  })

  it('is retryable by default when the reason passes by itself', () => {
    expect(new MeshError(ErrorReason.DRAINING, '').retryable).toBe(true)
    expect(new MeshError(ErrorReason.RECORD_STALE, '').retryable).toBe(false)
    expect(new MeshError(ErrorReason.DRAINING, '', { retryable: false }).retryable).toBe(false)
  })

  it('takes over other errors by their kind when it is made from them', () => {
    const own = new MeshError(ErrorReason.NOT_MEMBER, '')
    expect(MeshError.from(own)).toBe(own)
    expect(MeshError.from(new DOMException('stop', 'AbortError')).reasonName).toBe('ABORTED')
    expect(MeshError.from(AbortSignal.abort().reason).reasonName).toBe('ABORTED')
    expect(MeshError.from(new DOMException('late', 'TimeoutError')).reasonName).toBe('DEADLINE_EXCEEDED')
    const cause = new TypeError('broken')
    expect(MeshError.from(cause)).toMatchObject({ reasonName: 'INTERNAL', cause })
    expect(MeshError.from('text').reasonName).toBe('INTERNAL')
  })
})
