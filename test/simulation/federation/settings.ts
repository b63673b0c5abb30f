import type { Random } from '@mesh/core'
import { resolveLimits, type ServerLimits } from '../../../server/limits/server-limits.ts'
import type { Lie } from './faults/tampering.ts'
import type { NetworkSettings } from './servers/sim-network.ts'

/** What happens how often: times per simulated minute. */
export interface FaultRates {
  readonly reset: number
  readonly stall: number
  readonly partition: number
  readonly asymmetricPartition: number
  readonly isolation: number
  readonly crash: number
  readonly silentCrash: number
  readonly crashLoop: number
  readonly pause: number
  readonly stutter: number
  readonly flap: number
  readonly wallStep: number
}

/** Everything about one run that its seed decides before it starts. */
export interface Settings {
  readonly serverCount: number
  readonly clientCount: number
  readonly topicCount: number
  readonly limits: ServerLimits
  readonly network: NetworkSettings
  readonly faults: FaultRates
  /** Share of frames that are lost and replaced, or moved, while there are faults. */
  readonly tamperRate: number
  /** Share of frames whose rows are not all there. */
  readonly lostRowRate: number
  /** How often the rows of one server stop on their way to another one while its states go on. */
  readonly holdsPerMinute: number
  /** Share of frames of envelopes with one more of somebody who is no member. */
  readonly strangerRate: number
  /** What servers lie about. */
  readonly lie: Lie | undefined
  /** How long clients act and faults happen. */
  readonly durationMs: number
  /** Mean time between two actions of one client. */
  readonly actionMs: number
  /** Share of actions that are messages. */
  readonly messageShare: number
}

const NO_FAULTS: FaultRates = {
  reset: 0,
  stall: 0,
  partition: 0,
  asymmetricPartition: 0,
  isolation: 0,
  crash: 0,
  silentCrash: 0,
  crashLoop: 0,
  pause: 0,
  stutter: 0,
  flap: 0,
  wallStep: 0,
}

/** `later`: for what there was not at first, so that it does not change what a seed draws for the rest. */
export function drawSettings(seed: number, random: Random, later: Random): Settings {
  const draw = new Draw(random)
  const drawLater = new Draw(later)
  const serverCount = draw.of([2, 3, 3, 3, 4, 5])
  return {
    serverCount,
    clientCount: 2 + draw.below(6),
    topicCount: draw.of([1, 1, 2, 3]),
    limits: drawLimits(draw),
    network: {
      delayMs: draw.of([0.2, 2, 20, 80]),
      jitterMs: draw.of([0, 1, 20]),
      frameMs: draw.of([0, 0, 0.5, 5]),
      windowFrames: draw.of([2, 16, 64, 1_000]),
      deadAfterMs: [draw.between(2_000, 5_000), draw.of([2_500, 4_000, 15_000])],
      connectTimeoutMs: draw.of([1_000, 5_000]),
      encode: seed % 8 === 0,
    },
    faults: drawFaults(draw),
    tamperRate: draw.chance(0.25) ? draw.of([0.01, 0.1]) : 0,
    lostRowRate: draw.chance(0.06) ? draw.of([0.03, 0.2]) : 0,
    holdsPerMinute: drawLater.chance(0.2) ? drawLater.of([3, 10]) : 0,
    strangerRate: drawLater.chance(0.3) ? 0.3 : 0,
    lie: serverCount > 2 && draw.chance(0.15) ? draw.of<Lie>(['rows', 'passedRows', 'passedState']) : undefined,
    durationMs: draw.between(5_000, 28_000),
    actionMs: draw.of([500, 1_500, 4_000]),
    messageShare: draw.of([0.2, 0.5, 0.8]),
  }
}

/** One fault that happens again and again, several at once, or none. */
function drawFaults(draw: Draw): FaultRates {
  if (draw.chance(0.08)) return NO_FAULTS
  const names = Object.keys(NO_FAULTS) as (keyof FaultRates)[]
  const only = draw.chance(0.35) ? draw.of(names) : undefined
  const rates: Record<string, number> = {}
  for (const name of names) {
    const used = only === undefined ? draw.chance(0.45) : name === only
    rates[name] = used ? draw.of([1, 3, 10]) : 0
  }
  return rates as unknown as FaultRates
}

function drawLimits(draw: Draw): ServerLimits {
  const federationLeaseMs = draw.between(2_000, 10_000)
  const federationHiddenMs = draw.of([1_000, 10_000, 300_000])
  return resolveLimits({
    federationLeaseMs,
    federationStateMs: Math.floor(federationLeaseMs / draw.of([3, 5, 8])),
    federationHiddenMs,
    // Longer than anything of an older epoch is on its way in these runs.
    federationEpochMemoryMs: draw.of([120_000, 3_600_000]),
    federationPauseGraceMs: draw.of([500, 2_000]),
    federationLogRows: draw.of([2, 8, 64, 16_384]),
    federationPageRows: draw.of([1, 3, 1_000]),
    federationCreditFrames: draw.of([4, 16, 256]),
    federationHandshakeMs: draw.between(2_000, 10_000),
    federationFlushMs: draw.of([1, 5, 20]),
    federationReceiptMs: draw.between(500, 3_000),
    federationMaxAttempts: draw.of([32, 10_000]),
    leaseMs: draw.between(1_000, 8_000),
    takeoverMs: draw.between(200, 2_000),
    maxHeldMessages: draw.of([2, 32]),
  })
}

class Draw {
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
  }

  below(count: number): number {
    return Math.floor(this.#random.uniform() * count)
  }

  /** A whole number. */
  between(low: number, high: number): number {
    return low + this.below(high - low)
  }

  chance(probability: number): boolean {
    return this.#random.uniform() < probability
  }

  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)] as T
  }
}
