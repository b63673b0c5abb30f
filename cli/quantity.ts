/** Sizes and times as people write and read them. */

const BYTES_PER_UNIT: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
}

const MS_PER_UNIT: Readonly<Record<string, number>> = { ms: 1, s: 1e3, m: 60e3, min: 60e3, h: 3_600e3, d: 86_400e3 }

/** Bytes of "1024", "64KiB", "1.5 GB"; undefined when it is none, or not a whole number of bytes. */
export function parseBytes(text: string): number | undefined {
  return parseQuantity(text, BYTES_PER_UNIT, 1)
}

/** Milliseconds of "500ms", "5s", "2m", "1h"; a bare number counts `bareUnitMs` each. Undefined when it is none. */
export function parseDurationMs(text: string, bareUnitMs = 1_000): number | undefined {
  return parseQuantity(text, MS_PER_UNIT, bareUnitMs)
}

function parseQuantity(text: string, units: Readonly<Record<string, number>>, bareUnit: number): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim())
  if (!match) return undefined
  const [, digits = '', unit = ''] = match
  const factor = unit === '' ? bareUnit : units[unit.toLowerCase()]
  if (factor === undefined) return undefined
  const value = Math.round(Number(digits) * factor)
  return Number.isSafeInteger(value) ? value : undefined
}

const BYTE_STEPS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** "512 B", "1.5 KiB", "20 MiB". */
export function formatBytes(bytes: number): string {
  let value = bytes
  let step = 0
  while (value >= 1_023.95 && step < BYTE_STEPS.length - 1) {
    value /= 1_024
    step++
  }
  const digits = step === 0 || value >= 99.95 ? value.toFixed(0) : value.toFixed(1)
  return `${digits} ${BYTE_STEPS[step]}`
}

/** "4.2 MiB/s"; "–" while nothing is known. */
export function formatRate(bytes: number, elapsedMs: number): string {
  return elapsedMs <= 0 ? '–' : `${formatBytes((bytes * 1_000) / elapsedMs)}/s`
}

/** "0.3 s", "12 s", "3:05", "1:02:03". */
export function formatDuration(ms: number): string {
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1)} s`
  const seconds = Math.round(ms / 1_000)
  if (seconds < 60) return `${seconds} s`
  const pad = (value: number): string => String(value).padStart(2, '0')
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60]
  return hours > 0 ? `${hours}:${pad(minutes)}:${pad(seconds % 60)}` : `${minutes}:${pad(seconds % 60)}`
}
