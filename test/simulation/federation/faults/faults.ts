import type { Random } from '@mesh/core'
import type { SimServer } from '../servers/sim-server.ts'
import type { FaultRates } from '../settings.ts'
import type { World } from '../world.ts'

// The story of faults: each kind comes at its own rate, lasts as long as it draws, and ends by itself or when the faults do.

type Fault = (world: World, random: Random) => void

const FAULTS: Readonly<Record<keyof FaultRates, Fault>> = {
  reset: (world, random) => {
    const [a, b] = pair(world, random)
    world.trace(`streams between ${a} and ${b} break`)
    world.network.reset(a, b, random.uniform() < 0.5 ? 'both' : 'one')
  },
  stall: (world, random) => {
    const [a, b] = pair(world, random)
    const durationMs = random.uniform() ** 2 * 4_000
    world.trace(`nothing moves between ${a} and ${b} for ${Math.round(durationMs)} ms`)
    world.network.stall(a, b, durationMs)
  },
  partition: (world, random) => {
    const [a, b] = pair(world, random)
    block(world, random, [
      [a, b],
      [b, a],
    ])
  },
  asymmetricPartition: (world, random) => block(world, random, [pair(world, random)]),
  isolation: (world, random) => {
    const [alone] = pair(world, random)
    const others = world.servers.map(({ index }) => index).filter((index) => index !== alone)
    block(
      world,
      random,
      others.flatMap((other): [number, number][] => [
        [alone, other],
        [other, alone],
      ]),
    )
  },
  crash: (world, random) => crash(world, random, 'reset'),
  silentCrash: (world, random) => crash(world, random, 'silence'),
  crashLoop: (world, random) => {
    const server = running(world, random)
    server?.crash('reset')
    // Each process lives just long enough to meet what an earlier one left behind.
    for (let i = 0, atMs = 0; i < 5; i++) {
      atMs += 20 + random.uniform() * 400
      world.clock.schedule(atMs, () => {
        if (world.faultsOver) return
        server?.crash(random.uniform() < 0.5 ? 'reset' : 'silence')
        server?.start()
      })
    }
  },
  pause: (world, random) => {
    const server = running(world, random)
    if (server === undefined) return
    server.pause()
    lasting(world, random, random.uniform() < 0.5 ? 3_000 : 15_000, () => server.resume())
  },
  stutter: (world, random) => {
    const server = running(world, random)
    if (server === undefined) return
    // As a machine that swaps: it runs for a moment between two stops, too short to hear everybody.
    for (let i = 0, atMs = 0; i < 5; i++) {
      world.clock.schedule(atMs, () => {
        if (!world.faultsOver && server.process?.state === 'running') server.pause()
      })
      atMs += world.settings.limits.federationStateMs * (2 + random.uniform())
      world.clock.schedule(atMs, () => {
        if (!world.faultsOver) server.resume()
      })
      atMs += random.uniform() * 1_500
    }
  },
  flap: (world, random) => {
    const [a, b] = pair(world, random)
    const periodMs = 100 + random.uniform() * 3_000
    for (let i = 0; i < 6; i++) {
      world.clock.schedule(i * periodMs, () => {
        if (!world.faultsOver) world.setPaths(pathsBetween(a, b), i % 2 === 1)
      })
    }
  },
  wallStep: (world, random) => {
    const server = running(world, random)
    server?.stepWall(Math.round((random.uniform() - 0.5) * 1_200_000))
  },
}

/** Sets off every kind of fault until they are over. */
export function startFaults(world: World, random: Random): void {
  for (const [name, fault] of Object.entries(FAULTS)) {
    const perMinute = world.settings.faults[name as keyof FaultRates]
    if (perMinute > 0) again(world, random, 60_000 / perMinute, fault)
  }
}

function again(world: World, random: Random, meanMs: number, fault: Fault): void {
  world.clock.schedule(-Math.log(1 - random.uniform()) * meanMs, () => {
    if (world.faultsOver) return
    fault(world, random)
    again(world, random, meanMs, fault)
  })
}

function block(world: World, random: Random, paths: readonly [number, number][]): void {
  world.setPaths(paths, false)
  lasting(world, random, 15_000, () => world.setPaths(paths, true))
}

function crash(world: World, random: Random, how: 'reset' | 'silence'): void {
  const server = running(world, random)
  if (server === undefined) return
  server.crash(how)
  // At once, as a supervisor does, or after the others have given it up.
  lasting(world, random, random.uniform() < 0.4 ? 300 : 20_000, () => server.start())
}

/** Short ones are as likely as long ones. */
function lasting(world: World, random: Random, longestMs: number, end: () => void): void {
  world.clock.schedule(random.uniform() ** 2 * longestMs, () => {
    if (!world.faultsOver) end()
  })
}

function pathsBetween(a: number, b: number): [number, number][] {
  return [
    [a, b],
    [b, a],
  ]
}

function pair(world: World, random: Random): [number, number] {
  const count = world.servers.length
  const a = Math.floor(random.uniform() * count)
  const b = (a + 1 + Math.floor(random.uniform() * (count - 1))) % count
  return [a, b]
}

function running(world: World, random: Random): SimServer | undefined {
  const candidates = world.servers.filter(({ process }) => process?.state === 'running')
  return candidates[Math.floor(random.uniform() * candidates.length)]
}
