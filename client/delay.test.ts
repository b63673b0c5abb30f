import { ErrorReason, MeshError, VirtualClock } from '@mesh/core'
import { describe, expect, it } from 'vitest'
import { abortable, delay } from './delay.ts'

describe('delay', () => {
  it('resolves when its time has come, and leaves nothing behind', async () => {
    const clock = new VirtualClock()
    const waited = delay(clock, 100, new AbortController().signal)
    await clock.advance(100)
    await waited
    expect(clock.pending).toBe(0)
  })

  it('rejects and cancels its timer when aborted', async () => {
    const clock = new VirtualClock()
    const controller = new AbortController()
    const waited = delay(clock, 100, controller.signal)
    controller.abort('enough')
    await expect(waited).rejects.toMatchObject({ reason: ErrorReason.ABORTED, cause: 'enough' })
    expect(clock.pending).toBe(0)
  })

  it('schedules nothing when aborted before', async () => {
    const clock = new VirtualClock()
    const reason = new MeshError(ErrorReason.SESSION_CLOSED, 'closed')
    await expect(delay(clock, 100, AbortSignal.abort(reason))).rejects.toBe(reason)
    expect(clock.pending).toBe(0)
  })
})

describe('abortable', () => {
  it('settles like its promise', async () => {
    const { signal } = new AbortController()
    await expect(abortable(Promise.resolve(1), signal)).resolves.toBe(1)
    await expect(abortable(Promise.reject(new Error('no')), signal)).rejects.toThrow('no')
    await expect(abortable(Promise.resolve(2), undefined)).resolves.toBe(2)
  })

  it('rejects as soon as the signal aborts, while the work goes on', async () => {
    const controller = new AbortController()
    const work = Promise.withResolvers<void>()
    const waited = abortable(work.promise, controller.signal)
    controller.abort()
    await expect(waited).rejects.toMatchObject({ reason: ErrorReason.ABORTED })
    work.resolve()
  })

  it('leaves no unhandled rejection when the work fails after an abort', async () => {
    const unhandled: unknown[] = []
    const listener = (error: unknown) => unhandled.push(error)
    process.on('unhandledRejection', listener)
    const work = Promise.withResolvers<void>()
    await expect(abortable(work.promise, AbortSignal.abort())).rejects.toBeInstanceOf(MeshError)
    work.reject(new Error('too late to matter'))
    await new Promise((resolve) => setImmediate(resolve))
    process.off('unhandledRejection', listener)
    expect(unhandled).toEqual([])
  })
})
