import { describe, expect, it } from 'vitest'
import { Turns } from './turns.ts'

async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}

describe('turns', () => {
  it('lets a bounded number happen at once and the others wait in line', async () => {
    const turns = new Turns(2)
    const log: number[] = []
    const ends: (() => void)[] = []
    for (let i = 0; i < 4; i++) {
      void turns.take().then((end) => {
        log.push(i)
        ends.push(end)
      })
    }
    await turn()
    expect(log).toEqual([0, 1])
    ends[1]?.()
    await turn()
    expect(log).toEqual([0, 1, 2])
    ends[0]?.()
    await turn()
    expect(log).toEqual([0, 1, 2, 3])
  })

  it('ends a turn once, however often it is told', async () => {
    const turns = new Turns(1)
    const end = await turns.take()
    end()
    end()
    await turns.take()
    let third = false
    void turns.take().then(() => {
      third = true
    })
    await turn()
    expect(third).toBe(false)
  })
})
