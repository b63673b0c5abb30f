import { ErrorReason, type MeshError } from '@mesh/core'
import { beforeEach, describe, expect, it } from 'vitest'
import { OrderedQueue } from './ordered-queue.ts'

let errors: MeshError[]
let queue: OrderedQueue

beforeEach(() => {
  errors = []
  queue = new OrderedQueue(3, (error) => errors.push(error))
})

describe('ordered queue', () => {
  it('runs one task at a time, in order', async () => {
    const log: string[] = []
    const gate = Promise.withResolvers<void>()
    queue.run(async () => {
      log.push('first begins')
      await gate.promise
      log.push('first ends')
    })
    queue.run(() => void log.push('second'))
    await Promise.resolve()
    expect(log).toEqual(['first begins'])
    gate.resolve()
    await queue.idle
    expect(log).toEqual(['first begins', 'first ends', 'second'])
    expect(queue.pending).toBe(0)
  })

  it('hands results over in the order they were given, not in the order they came', async () => {
    const [slow, fast] = [Promise.withResolvers<string>(), Promise.withResolvers<string>()]
    const log: string[] = []
    queue.settle(
      () => slow.promise,
      (result) => log.push(result),
    )
    queue.settle(
      () => fast.promise,
      (result) => log.push(result),
    )
    fast.resolve('second')
    await new Promise((resolve) => setImmediate(resolve))
    expect(log).toEqual([])
    slow.resolve('first')
    await queue.idle
    expect(log).toEqual(['first', 'second'])
  })

  it('reports what fails, in its turn, and goes on', async () => {
    const log: string[] = []
    const gate = Promise.withResolvers<void>()
    queue.run(() => gate.promise)
    queue.settle(
      () => Promise.reject(new Error('broken')),
      () => log.push('never'),
    )
    queue.run(() => void log.push('after'))
    await new Promise((resolve) => setImmediate(resolve))
    expect(errors).toEqual([])
    gate.resolve()
    await queue.idle
    expect(errors.map(({ reason }) => reason)).toEqual([ErrorReason.INTERNAL])
    expect(log).toEqual(['after'])
  })

  it('reports a delivery that throws', async () => {
    queue.settle(
      () => Promise.resolve(1),
      () => {
        throw new Error('refused')
      },
    )
    await queue.idle
    expect(errors).toHaveLength(1)
  })

  it('hands a result that is there over at once when nothing is before it', () => {
    const log: string[] = []
    queue.settle(
      () => 'first',
      (result) => log.push(result),
      () => log.push('ended'),
    )
    expect(log).toEqual(['first', 'ended'])
    expect(queue.pending).toBe(0)
  })

  it('keeps a result that is there back while something is before it', async () => {
    const gate = Promise.withResolvers<string>()
    const log: string[] = []
    queue.settle(
      () => gate.promise,
      (result) => log.push(result),
    )
    queue.settle(
      () => 'second',
      (result) => log.push(result),
    )
    expect(log).toEqual([])
    gate.resolve('first')
    await queue.idle
    expect(log).toEqual(['first', 'second'])
  })

  it.each([
    ['that throws', () => raise()],
    ['that rejects', () => Promise.reject(new Error('broken'))],
  ])('ends work %s, and reports it', async (_what, begin) => {
    let ended = 0
    queue.settle(begin, raise, () => ended++)
    await queue.idle
    expect(errors).toHaveLength(1)
    expect(ended).toBe(1)
  })

  it('ends work that it refused, which never began', async () => {
    let [begun, ended] = [0, 0]
    for (let i = 0; i < 5; i++) {
      queue.settle(
        async () => begun++,
        () => {},
        () => ended++,
      )
    }
    expect(begun).toBe(3)
    await queue.idle
    expect(ended).toBe(5)
  })

  it('refuses work past its bound, and takes more when some is done', async () => {
    const log: number[] = []
    for (let i = 0; i < 5; i++) queue.run(() => void log.push(i))
    expect(errors.map(({ limit, value }) => [limit, value])).toEqual([
      ['pending_work', 4n],
      ['pending_work', 4n],
    ])
    await queue.idle
    queue.run(() => void log.push(9))
    await queue.idle
    expect(log).toEqual([0, 1, 2, 9])
  })

  it('leaves no unhandled rejection of work that it refused', async () => {
    const unhandled: unknown[] = []
    const listener = (error: unknown) => unhandled.push(error)
    process.on('unhandledRejection', listener)
    for (let i = 0; i < 5; i++)
      queue.settle(
        () => Promise.reject(new Error('broken')),
        () => {},
      )
    await queue.idle
    await new Promise((resolve) => setImmediate(resolve))
    process.off('unhandledRejection', listener)
    expect(unhandled).toEqual([])
    expect(errors).toHaveLength(5)
  })
})

function raise(): never {
  throw new Error('broken')
}
