import { MAX_NAME_BYTES } from './file-channel.ts'

/** The last part of a name, cut so that its UTF-8 has at most 255 bytes; never empty. The extension survives the cut. */
export function offeredName(name: string): string {
  const last = name.split(/[/\\]/).at(-1) || 'file'
  const [, stem = last, extension = ''] = /^(.+?)(\.[^.]{1,16})?$/s.exec(last) ?? []
  const encoder = new TextEncoder()
  const room = MAX_NAME_BYTES - encoder.encode(extension).length
  const cut = new Uint8Array(room)
  // encodeInto never splits a character.
  const { read } = encoder.encodeInto(stem, cut)
  return stem.slice(0, read) + extension
}

/**
 * A received name, safe to show and to save under: no path, no control or direction-changing characters, and no leading dot.
 */
export function safeName(name: string): string {
  const last = name.split(/[/\\]/).at(-1) ?? ''
  const plain = last.replace(/[\p{Cc}\p{Cf}\p{Cn}\u2028\u2029]/gu, '').trim()
  return plain.replace(/^\.+/, '') || 'file'
}
