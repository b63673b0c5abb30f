import { printable } from '../terminal/style.ts'

/** Common to all file systems in use: 255 bytes, or 255 UTF-16 units. */
const MAX_NAME_BYTES = 255
/** Room for what is put around a name: " (999)", or "." and ".0123456789abcdef.part". */
const MAX_STEM_BYTES = MAX_NAME_BYTES - 24
const FALLBACK_NAME = 'file'

/** Names that Windows takes for devices, whatever their extension. */
const DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i

/**
 * A name for a received file, made from the one its sender suggests: one path segment, visible (no leading dot), without
 * characters that a file system or a terminal gives a meaning to, at most 231 bytes. Never empty, "." or "..".
 */
export function safeFileName(suggested: string): string {
  const segment = suggested.normalize('NFC').split(/[/\\]/).at(-1) ?? ''
  const plain = printable(segment)
    .replace(/[<>:"|?*\ufffd]/g, '_')
    .replace(/[\p{Cf}\p{Co}\p{Cn}]/gu, '_')
    .replace(/^[.\s]+/, '')
    .replace(/[.\s]+$/, '')
  const named = DEVICE.test(plain) ? `_${plain}` : plain
  return shorten(named) || FALLBACK_NAME
}

/** "photo.jpg", "photo (1).jpg", "photo (2).jpg", ... */
export function numberedFileName(name: string, number: number): string {
  if (number === 0) return name
  const { stem, extension } = splitExtension(name)
  return `${stem} (${number})${extension}`
}

function shorten(name: string): string {
  const { stem, extension } = splitExtension(name)
  let shortened = stem
  while (Buffer.byteLength(shortened + extension) > MAX_STEM_BYTES && shortened !== '') {
    shortened = [...shortened].slice(0, -1).join('')
  }
  return shortened + extension
}

/** An extension is short and plain; anything else after a dot belongs to the name. */
function splitExtension(name: string): { stem: string; extension: string } {
  const match = /^(.+?)((?:\.tar)?\.[a-z0-9]{1,16})$/i.exec(name)
  return match ? { stem: match[1] ?? name, extension: match[2] ?? '' } : { stem: name, extension: '' }
}
