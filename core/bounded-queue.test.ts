import { describe, expect, it } from 'vitest'
import { BoundedQueue } from './bounded-queue.ts'

const sizeOf = (text: string): number => text.length

describe('BoundedQueue', () => {
  it('hands items out in order when it has room', () => {
    const queue = new BoundedQueue<number>({ maxItems: 1_000, overflow: 'refuse' })
    for (let i = 0; i < 1_000; i++) expect(queue.push(i)).toBe(true)
    expect(queue.peek()).toBe(0)
    for (let i = 0; i < 500; i++) expect(queue.shift()).toBe(i)
    for (let i = 1_000; i < 1_500; i++) expect(queue.push(i)).toBe(true)
    expect([...queue]).toEqual(Array.from({ length: 1_000 }, (_, i) => i + 500))
    expect(queue.length).toBe(1_000)
    expect(queue.dropped).toBe(0)
  })

  it('refuses the new item when it is full and refuses', () => {
    const queue = new BoundedQueue<string>({ maxItems: 2, overflow: 'refuse' })
    expect([queue.push('a'), queue.push('b'), queue.push('c')]).toEqual([true, true, false])
    expect([...queue]).toEqual(['a', 'b'])
    expect(queue.dropped).toBe(1)
  })

  it('drops the oldest items, as many as needed, when it is full and drops', () => {
    const queue = new BoundedQueue<string>({ maxItems: 10, maxBytes: 6, sizeOf, overflow: 'drop-oldest' })
    for (const item of ['aa', 'bb', 'cc']) queue.push(item)
    expect(queue.push('dddd')).toBe(true)
    expect([...queue]).toEqual(['cc', 'dddd'])
    expect(queue.bytes).toBe(6)
    expect(queue.dropped).toBe(2)
  })

  it.each(['refuse', 'drop-oldest'] as const)(
    'refuses an item that alone exceeds the bytes and keeps the others when its policy is %s',
    (overflow) => {
      const queue = new BoundedQueue<string>({ maxItems: 10, maxBytes: 4, sizeOf, overflow })
      queue.push('aa')
      expect(queue.push('bbbbb')).toBe(false)
      expect([...queue]).toEqual(['aa'])
      expect(queue.dropped).toBe(1)
    },
  )

  it('counts bytes back when items leave', () => {
    const queue = new BoundedQueue<string>({ maxItems: 10, maxBytes: 4, sizeOf, overflow: 'refuse' })
    queue.push('aaaa')
    expect(queue.push('b')).toBe(false)
    queue.shift()
    expect(queue.bytes).toBe(0)
    expect(queue.push('bbbb')).toBe(true)
    queue.clear()
    expect([queue.length, queue.bytes, queue.shift(), queue.peek()]).toEqual([0, 0, undefined, undefined])
  })

  it('does not grow when items flow through', () => {
    const queue = new BoundedQueue<number>({ maxItems: 4, overflow: 'refuse' })
    for (let i = 0; i < 10_000; i++) {
      queue.push(i)
      queue.push(i)
      expect(queue.shift()).toBe(i)
      expect(queue.shift()).toBe(i)
    }
    expect(queue.length).toBe(0)
  })

  it('cannot be made without a bound', () => {
    expect(() => new BoundedQueue({ maxItems: 0, overflow: 'refuse' })).toThrow(RangeError)
    expect(() => new BoundedQueue({ maxItems: 1, maxBytes: 1, overflow: 'refuse' })).toThrow(RangeError)
  })
})
