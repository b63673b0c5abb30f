/** Several measurements of one quantity: the median is reported, the spread says how far to trust it. */
export interface Summary {
  readonly median: number
  /** First and third quartile: half of the samples lie between them. */
  readonly low: number
  readonly high: number
  readonly samples: readonly number[]
}

/** Throws on an empty list: a missing measurement must not look like a zero. */
export function summarize(samples: readonly number[]): Summary {
  const sorted = [...samples].sort((a, b) => a - b)
  return { median: percentile(sorted, 0.5), low: percentile(sorted, 0.25), high: percentile(sorted, 0.75), samples }
}

/**
 * The value below which `fraction` (0 to 1) of the ascending samples lie, interpolated between neighbours. Throws on an
 * empty list.
 */
export function percentile(sorted: ArrayLike<number>, fraction: number): number {
  if (sorted.length === 0) throw new Error('no samples')
  const position = (sorted.length - 1) * fraction
  const below = Math.floor(position)
  const above = Math.ceil(position)
  return sorted[below]! + (sorted[above]! - sorted[below]!) * (position - below)
}

/**
 * Half the distance between the quartiles, as a fraction of the median: 0.1 reads as "half of the samples within 10 %".
 * Not the extremes: on a shared machine those say what the neighbours did.
 */
export function spread(summary: Summary): number {
  return summary.median === 0 ? 0 : (summary.high - summary.low) / 2 / Math.abs(summary.median)
}

/**
 * Ratio of two variants that were measured in the same rounds: taken within each round first, because neighbours on a
 * shared machine slow a whole round down, and a quotient of medians from different rounds would keep that noise.
 */
export function pairedRatio(variant: Summary, reference: Summary): Summary {
  const rounds = Math.min(variant.samples.length, reference.samples.length)
  const ratios: number[] = []
  for (let round = 0; round < rounds; round++) ratios.push(variant.samples[round]! / reference.samples[round]!)
  return summarize(ratios)
}

/** The same for a difference, in the unit of the samples. */
export function pairedDifference(variant: Summary, reference: Summary): Summary {
  const rounds = Math.min(variant.samples.length, reference.samples.length)
  const differences: number[] = []
  for (let round = 0; round < rounds; round++) differences.push(variant.samples[round]! - reference.samples[round]!)
  return summarize(differences)
}
