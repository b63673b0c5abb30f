import type { Simulation } from './simulation.ts'

// Each loads what it runs when it runs: a thread needs one of them only.

/** Peers that restart and sleep, the links between them, the paths of each, and their applications. */
export const linkSimulation: Simulation = {
  name: 'link',
  async run(seed) {
    const { simulateLink } = await import('../link/simulate-link.ts')
    const { violations, ending, packets, repeats, pathChanges, datagrams, restarts, sleeps } = await simulateLink(seed)
    return {
      violations,
      trace: [],
      totals: { packets, repeats, pathChanges, datagrams, restarts, sleeps, [ending]: 1 },
    }
  },
}

/** Federated servers, the network between them, and their clients. */
export const federationSimulation: Simulation = {
  name: 'federation',
  async run(seed, options) {
    const { simulateFederation } = await import('../federation/simulate-federation.ts')
    const { violations, trace, totals } = await simulateFederation(seed, options)
    return { violations, trace, totals: { ...totals } }
  },
}

export const SIMULATIONS: readonly Simulation[] = [linkSimulation, federationSimulation]

/** @throws Error that names those there are. */
export function simulationNamed(name: string): Simulation {
  const found = SIMULATIONS.find((simulation) => simulation.name === name)
  if (found !== undefined) return found
  throw new Error(`no simulation "${name}"; there are ${SIMULATIONS.map((simulation) => simulation.name).join(', ')}`)
}
