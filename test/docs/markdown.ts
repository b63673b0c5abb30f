/** A fenced code block of a Markdown file. */
export interface CodeBlock {
  readonly file: string
  /** Line of the opening fence, 1-based. */
  readonly line: number
  /** First word after the fence: `ts`, `sh`; empty when there is none. */
  readonly language: string
  /** The words after the language. */
  readonly flags: readonly string[]
  readonly text: string
}

/** The fenced blocks of a Markdown text, in order; throws when the last one is never closed. */
export function codeBlocks(file: string, markdown: string): CodeBlock[] {
  const blocks: CodeBlock[] = []
  let open: { fence: string; line: number; words: string[]; lines: string[] } | undefined
  for (const [index, line] of markdown.split('\n').entries()) {
    const [, fence = '', info = ''] = /^\s*(`{3,})(.*)$/.exec(line) ?? []
    if (open === undefined) {
      if (fence !== '') open = { fence, line: index + 1, words: info.trim().split(/\s+/), lines: [] }
    } else if (fence.startsWith(open.fence) && info.trim() === '') {
      const [language = '', ...flags] = open.words
      blocks.push({ file, line: open.line, language, flags, text: open.lines.join('\n') })
      open = undefined
    } else {
      open.lines.push(line)
    }
  }
  if (open !== undefined) throw new Error(`${file}:${open.line} opens a code block that is never closed`)
  return blocks
}

/** The commands of an `sh` block: without prompts, comments and empty lines; lines ending in `\` are joined. */
export function commandsIn(block: CodeBlock): string[] {
  return block.text
    .replaceAll(/\s*\\\n\s*/g, ' ')
    .split('\n')
    .map((line) =>
      line
        .replace(/^\s*(\$ )?/, '')
        .replace(/\s+#\s.*$/, '')
        .trim(),
    )
    .filter((line) => line !== '' && !line.startsWith('#'))
}

/** Names of the npm scripts that a text tells its reader to run, in blocks and in sentences. */
export function npmScriptsIn(text: string): string[] {
  const named = [...text.matchAll(/\bnpm run (?:--?[\w-]+ )*([\w:-]+)/g)].map((match) => match[1] ?? '')
  const short = [...text.matchAll(/\bnpm (start|test)\b/g)].map((match) => match[1] ?? '')
  return [...new Set([...named, ...short])]
}

/** Names of the `mesh` commands in an `sh` block, however it is started. */
export function meshCommandsIn(block: CodeBlock): string[] {
  return commandsIn(block).flatMap((command) => {
    const match = /^(?:npx mesh|mesh|npm run mesh --|npx @mesh\/cli) +([a-z][\w-]*)/.exec(command)
    return match?.[1] === undefined ? [] : [match[1]]
  })
}
