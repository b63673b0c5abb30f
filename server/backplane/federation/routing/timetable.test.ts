import { seededRandom, VirtualClock } from '@mesh/core'
import { describe, expect, test } from 'vitest'
import { type Appointment, Timetable } from './timetable.ts'

describe('a timetable', () => {
  test('keeps every appointment at its time and in its order, but those that were called off', async () => {
    const random = seededRandom(3)
    const clock = new VirtualClock()
    const timetable = new Timetable(clock, 2_000)
    const ran: number[] = []
    const planned: { atMs: number; appointment: Appointment; isOff: boolean }[] = []
    for (let step = 0; step < 2_000; step++) {
      // Most are equally far away; some are sooner, or later.
      const inMs = random.uniform() < 0.7 ? 2_000 : random.uniform() * 4_000
      const atMs = clock.monotonicMs() + inMs
      const appointment = timetable.at(atMs, () => {
        expect(clock.monotonicMs()).toBeGreaterThanOrEqual(atMs)
        expect(clock.monotonicMs()).toBeLessThan(atMs + 1)
        ran.push(atMs)
      })
      planned.push({ atMs, appointment, isOff: false })
      const other = planned[Math.floor(random.uniform() * planned.length)]
      if (other !== undefined && random.uniform() < 0.8 && other.atMs > clock.monotonicMs()) {
        timetable.cancel(other.appointment)
        other.isOff = true
      }
      await clock.advance(random.uniform() * 5)
    }
    await clock.advance(5_000)
    const expected = planned.filter(({ isOff }) => !isOff).map(({ atMs }) => atMs)
    expect(ran).toEqual(expected.sort((a, b) => a - b))
    expect(expected.length).toBeGreaterThan(300)
  })

  test('lets what runs call off what is due with it, and plan anew', async () => {
    const clock = new VirtualClock()
    const timetable = new Timetable(clock, 2_000)
    const ran: string[] = []
    timetable.at(10, () => {
      ran.push('first')
      timetable.cancel(second)
      timetable.at(10, () => ran.push('third'))
    })
    const second = timetable.at(10, () => ran.push('second'))
    await clock.advance(20)
    expect(ran).toEqual(['first', 'third'])
  })

  test('does nothing after it was closed', async () => {
    const clock = new VirtualClock()
    const timetable = new Timetable(clock, 2_000)
    const ran: string[] = []
    for (const atMs of [10, 20, 5]) timetable.at(atMs, () => ran.push(String(atMs)))
    timetable.close()
    await clock.advance(100)
    expect(ran).toEqual([])
  })
})
