/** A thread that runs the seeds it is given: see main.ts. */
import { parentPort, workerData } from 'node:worker_threads'
import { runSeeds } from './simulation.ts'
import { simulationNamed } from './simulations.ts'

const simulation = simulationNamed((workerData as { readonly simulation: string }).simulation)

parentPort?.on('message', (range: { readonly first: number; readonly last: number }) => {
  void runSeeds(simulation, range).then((report) => parentPort?.postMessage(report))
})
