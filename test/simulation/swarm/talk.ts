import { expect } from 'vitest'
import type { TestPeer, World } from './driven-world.ts'

export interface Talk {
  /** Stops, and waits for everything to arrive, each message once and in order. Gives the longest time any one took. */
  finish(): Promise<number>
}

/** Two peers talk on and on, both ways, in a swarm where nobody else says anything. */
export function talk(world: World, a: TestPeer, b: TestPeer, everyMs = 100): Talk {
  const sends: Promise<unknown>[] = []
  let count = 0
  let longestMs = 0
  let stopped = false
  const say = (): void => {
    if (stopped) return
    const saidAtMs = world.clock.monotonicMs()
    for (const { swarm } of [a, b]) {
      const sent = swarm.send(`m${count}`).then(({ failed }) => {
        if (failed[0]) throw failed[0].error
        longestMs = Math.max(longestMs, world.clock.monotonicMs() - saidAtMs)
      })
      // It is looked at in the end.
      sent.catch(() => undefined)
      sends.push(sent)
    }
    count++
    world.clock.schedule(everyMs, say)
  }
  say()
  return {
    async finish() {
      stopped = true
      await world.settled(Promise.all(sends))
      const expected = Array.from({ length: count }, (_, i) => `m${i}`)
      expect([a.texts, b.texts]).toEqual([expected, expected])
      return longestMs
    },
  }
}
