import { describe, expect, it } from 'vitest'
import { VirtualClock } from './virtual-clock.ts'

describe('VirtualClock', () => {
  it('runs timers by due time, then by order of scheduling, when it is advanced', async () => {
    const clock = new VirtualClock()
    const ran: string[] = []
    clock.schedule(20, () => ran.push('late'))
    clock.schedule(10, () => ran.push('first'))
    clock.schedule(10, () => ran.push('second'))
    clock.schedule(0, () => ran.push('now'))
    await clock.advance(19)
    expect(ran).toEqual(['now', 'first', 'second'])
    expect(clock.pending).toBe(1)
    expect(clock.msUntilNext).toBe(1)
    await clock.advance(1)
    expect(ran.at(-1)).toBe('late')
    expect(clock.msUntilNext).toBeUndefined()
  })

  it('runs timers that timers schedule when they fall into the same step', async () => {
    const clock = new VirtualClock()
    const at: number[] = []
    const again = (): void => {
      at.push(clock.monotonicMs())
      clock.schedule(10, again)
    }
    clock.schedule(10, again)
    await clock.advance(35)
    expect(at).toEqual([10, 20, 30])
    expect(clock.monotonicMs()).toBe(35)
  })

  it('lets promises settle between timers, however long the chain', async () => {
    const clock = new VirtualClock()
    const order: string[] = []
    clock.schedule(1, async () => {
      for (let i = 0; i < 100; i++) await Promise.resolve()
      order.push('chain of the first')
    })
    clock.schedule(2, () => order.push('second'))
    await clock.advance(2)
    expect(order).toEqual(['chain of the first', 'second'])
  })

  it('forgets a timer when it is cancelled, also by one that runs before it', async () => {
    const clock = new VirtualClock()
    let ran = false
    const doomed = clock.schedule(5, () => {
      ran = true
    })
    clock.schedule(5 - 1, () => doomed.cancel())
    await clock.advance(10)
    doomed.cancel()
    expect(ran).toBe(false)
    expect(clock.pending).toBe(0)
  })

  it('moves the wall clock alone when it is skewed', async () => {
    const clock = new VirtualClock(1_000)
    await clock.advance(50)
    clock.skewWall(-500)
    expect([clock.monotonicMs(), clock.wallMs()]).toEqual([50, 550])
  })

  it('rejects when a timer throws and when time is to go back', async () => {
    const clock = new VirtualClock()
    clock.schedule(1, () => {
      throw new Error('broken')
    })
    await expect(clock.advance(1)).rejects.toThrow('broken')
    await expect(clock.advance(-1)).rejects.toThrow(RangeError)
  })
})
