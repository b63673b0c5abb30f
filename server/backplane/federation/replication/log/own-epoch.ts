import type { Random } from '@mesh/core'

/** An epoch is 43 bits of Unix time in ms, then 21 random bits. */
const RANDOM_BITS = 21n
const RANDOM_MASK = (1n << RANDOM_BITS) - 1n

/** How far ahead of this server's clock another epoch of it can have been. A clock that was off by more is not believed. */
const DAY_MS = 86_400_000n

/** The epoch of a process that starts now. */
export function firstEpoch(wallMs: number, random: Random): bigint {
  return (BigInt(Math.trunc(wallMs)) << RANDOM_BITS) | randomBits(random)
}

/**
 * An epoch above `past`, which another incarnation of this server had: its clock was ahead, or was set back since. The low
 * bits are drawn anew: were it `past + 1`, a third incarnation that learns of the same `past` would take the same.
 */
export function epochAbove(past: bigint, random: Random): bigint {
  return (((past >> RANDOM_BITS) + 1n) << RANDOM_BITS) | randomBits(random)
}

/** Whether `claimed` can have been an epoch of this server. Otherwise who claims it lies, or exhausts the numbers. */
export function canHaveBeenOwn(claimed: bigint, wallMs: number): boolean {
  return claimed <= latestEpoch(wallMs, DAY_MS)
}

/**
 * Whether another server can be in this epoch. A day more than it believes of itself: what is taken here is what it has to
 * rise above when its clock is right again.
 */
export function canBeOfAnother(epoch: bigint, wallMs: number): boolean {
  return epoch <= latestEpoch(wallMs, 2n * DAY_MS)
}

function latestEpoch(wallMs: number, aheadMs: bigint): bigint {
  return ((BigInt(Math.trunc(wallMs)) + aheadMs) << RANDOM_BITS) | RANDOM_MASK
}

function randomBits(random: Random): bigint {
  return BigInt(Math.floor(random.uniform() * 2 ** Number(RANDOM_BITS)))
}
