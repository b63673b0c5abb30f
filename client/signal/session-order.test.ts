import { describe, expect, it } from 'vitest'
import { SessionOrder, sameProcess } from './session-order.ts'

describe('session order', () => {
  it('names the process by its start and counts its sessions', () => {
    const order = new SessionOrder(1_000.7)
    expect(order.next()).toBe((1_000n << 20n) + 1n)
    expect(order.next()).toBe((1_000n << 20n) + 2n)
  })

  it('puts every session of a later process above every session of an earlier one', () => {
    const earlier = new SessionOrder(1_000)
    const later = new SessionOrder(1_001)
    for (let i = 0; i < 1_000; i++) earlier.next()
    expect(later.next()).toBeGreaterThan(earlier.next())
  })

  it('tells sessions of one process from those of another', () => {
    const [a, b] = [new SessionOrder(1_000), new SessionOrder(1_001)]
    const [first, second, other] = [a.next(), a.next(), b.next()]
    expect(sameProcess(first, second)).toBe(true)
    expect(sameProcess(first, other)).toBe(false)
  })

  it('starts above another process when its own clock is behind', () => {
    const ahead = new SessionOrder(9_000).next()
    const order = new SessionOrder(1_000)
    expect(order.startAbove(ahead)).toBe(true)
    const next = order.next()
    expect(next).toBeGreaterThan(ahead)
    expect(sameProcess(next, ahead)).toBe(false)
  })

  it('stays where it is when it is above already', () => {
    const order = new SessionOrder(9_000)
    const first = order.next()
    order.startAbove(new SessionOrder(1_000).next())
    expect(order.next()).toBe(first + 1n)
  })

  it('keeps its name once a session was opened under it', () => {
    const order = new SessionOrder(1_000)
    const ahead = new SessionOrder(9_000).next()
    expect(order.used).toBe(false)
    const first = order.next()
    order.startAbove(ahead)
    expect([order.use(first), order.used]).toEqual([false, false])
    expect([order.use(order.next()), order.used]).toEqual([true, true])
    expect(order.startAbove(new SessionOrder(20_000).next())).toBe(false)
  })

  it('does not leave its 64 bits for a server that says the highest order there is', () => {
    const order = new SessionOrder(1_000)
    expect(order.startAbove(2n ** 64n - 1n)).toBe(false)
    expect(order.next()).toBe((1_000n << 20n) + 1n)
  })
})
