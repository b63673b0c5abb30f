import { expect, test } from 'vitest'
import type { RelayLine } from '../../systems/line.ts'
import { RelayDriver } from './driver.ts'

/** Lines that deliver in a later turn and remember how much was under way. */
function looseLines(driver: RelayDriver, count: number): { lines: RelayLine[]; peak: () => number } {
  let peak = 0
  const lines = Array.from({ length: count }, (_, line): RelayLine => {
    let underWay = 0
    return {
      send(messages, sentAtMs) {
        underWay += messages
        peak = Math.max(peak, underWay)
        setImmediate(() => {
          underWay -= messages
          for (let index = 0; index < messages; index++) driver.delivered(line, sentAtMs)
        })
      },
    }
  })
  return { lines, peak: () => peak }
}

test('a saturated line never has more than its window under way and loses nothing', async () => {
  const driver = new RelayDriver()
  const { lines, peak } = looseLines(driver, 2)
  driver.use(lines)
  const { messages } = await driver.saturate({ durationMs: 20, batch: 4, window: 16 })
  expect(messages).toBeGreaterThan(16)
  expect(messages % 4).toBe(0)
  expect(peak()).toBeLessThanOrEqual(16)
})

test('a paced run reports one ascending latency per message', async () => {
  const driver = new RelayDriver()
  driver.use(looseLines(driver, 2).lines)
  const { messages, latenciesMs } = await driver.paced({ durationMs: 30, batch: 2, messagesPerSecond: 1_000 })
  expect(messages).toBeGreaterThan(0)
  expect(latenciesMs).toHaveLength(messages)
  expect([...latenciesMs]).toEqual([...latenciesMs].sort((a, b) => a - b))
})

test('a run fails when a message was refused', async () => {
  const driver = new RelayDriver()
  driver.use([{ send: () => driver.failed(new Error('refused')) }])
  await expect(driver.saturate({ durationMs: 5, batch: 1, window: 1 })).rejects.toThrow('refused')
})
