import type { SimProcess, Stop } from '../servers/sim-process.ts'

/** Stops in state intervals: from half of one on they can be noticed by what was due, from one more on they must be. */
const MAY_BE_NOTICED = 0.49
const IS_NOTICED = 1.6

/** Clocks of servers are off by up to one part in a thousand. */
export const CLOCK_ERROR = 0.0011

/** Sums of times in doubles are off by less than this. */
export const ROUNDING_MS = 1e-6

/** When a lease that began at a time is over at the latest: it is prolonged by a grace, once, after a stop of the process. */
export function latestLeaseEndMs(process: SimProcess, fromMs: number): number {
  const { federationLeaseMs, federationPauseGraceMs } = process.limits
  const stops = stopsAfter(process, fromMs)
  // One that may have gone unnoticed leaves the grace to the next.
  const last = stops.find((stop) => isNoticed(stop, process)) ?? stops.at(-1)
  const graceEndsMs = (last?.untilMs ?? Number.NEGATIVE_INFINITY) + federationPauseGraceMs
  return Math.max(fromMs + federationLeaseMs, graceEndsMs) + CLOCK_ERROR * federationLeaseMs
}

/** Stops that a process may have noticed and that ended after a time. */
export function stopsAfter(process: SimProcess, sinceMs: number): readonly Stop[] {
  return process.stops.filter((stop) => stop.untilMs > sinceMs && isLonger(stop, process, MAY_BE_NOTICED))
}

/** Whether the process must have noticed the stop. */
export function isNoticed(stop: Stop, process: SimProcess): boolean {
  return isLonger(stop, process, IS_NOTICED)
}

function isLonger({ fromMs, untilMs }: Stop, { limits }: SimProcess, stateIntervals: number): boolean {
  return untilMs - fromMs > stateIntervals * limits.federationStateMs
}
