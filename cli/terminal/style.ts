/** Colours and line breaks of text for people. */

/** Wraps text in the terminal's codes, or leaves it alone where there are no colours. */
export interface Style {
  readonly colour: boolean
  bold(text: string): string
  dim(text: string): string
  good(text: string): string
  bad(text: string): string
  warning(text: string): string
  heading(text: string): string
  /** The colour of one peer among several: always the same for the same `seed`. */
  peer(text: string, seed: string): string
}

/** Bright enough on dark and on light backgrounds: cyan, magenta, green, yellow, blue and their bright forms. */
const PEER_COLOURS: readonly number[] = [36, 35, 32, 33, 34, 96, 95, 92, 94]

/** Colours are used on terminals, unless NO_COLOR is set or the terminal says it is dumb. */
export function makeStyle(isTerminal: boolean, env: Readonly<Record<string, string | undefined>>): Style {
  const colour = isTerminal && !env.NO_COLOR && env.TERM !== 'dumb'
  const paint = (open: number, close: number) => (text: string) =>
    colour && text !== '' ? `\u001b[${open}m${text}\u001b[${close}m` : text
  return {
    colour,
    bold: paint(1, 22),
    dim: paint(2, 22),
    good: paint(32, 39),
    bad: paint(31, 39),
    warning: paint(33, 39),
    heading: paint(1, 22),
    peer: (text, seed) => paint(peerColour(seed), 39)(text),
  }
}

function peerColour(seed: string): number {
  let sum = 0
  for (const letter of seed) sum = (sum * 31 + letter.charCodeAt(0)) % 65_536
  return PEER_COLOURS[sum % PEER_COLOURS.length] ?? 36
}

/** Breaks text at blanks into lines of at most `columns` characters; a longer word stays whole. */
export function wrap(text: string, columns: number): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return [...lines, line].join('\n')
}

/**
 * Control characters, line and paragraph separators, and the marks that reorder text: what others send must not move the
 * cursor, recolour the screen, type into the terminal, or read differently than it is.
 */
const UNPRINTABLE = /[\p{Cc}\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]|\p{Cs}/gu

/** Text of others on one line, with everything unprintable shown as a replacement character. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (mark) => (mark === '\t' ? ' ' : '\ufffd'))
}

/** Text of others with its line breaks kept, and all lines but the first indented. */
export function printableLines(text: string, indent: string): string {
  return text
    .split(/\r\n|\n|\r/)
    .map(printable)
    .join(`\n${indent}`)
}

/** "mesh1qq7x…a4fj": enough of a peer id to tell peers apart on a screen, never to decide anything. */
export function shortPeerId(id: string): string {
  return id.length <= 16 ? id : `${id.slice(0, 10)}…${id.slice(-4)}`
}

/** The part of a line that fits into `columns`. Colours take no room, and end with the line. */
export function clip(line: string, columns: number): string {
  let shown = 0
  let cut = ''
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the codes of a terminal begin with one.
  for (const [piece] of line.matchAll(/\u001b\[\d+m|./gu)) {
    if (!piece.startsWith('\u001b') && ++shown > columns) continue
    cut += piece
  }
  return cut
}
