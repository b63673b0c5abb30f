import { execFile } from 'node:child_process'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ROOT } from '../architecture/repository.ts'
import type { CodeBlock } from './markdown.ts'

/**
 * Typechecks blocks, each as a module of its own, with the repository's settings, and returns the complaints with the
 * place in the Markdown file. A block marked `continues` is checked after the text of the block before it.
 */
export async function typecheck(blocks: readonly CodeBlock[], name: string): Promise<string[]> {
  // Below node_modules, so that packages are found by name and no other tool looks at it.
  const folder = join(ROOT, 'node_modules', '.cache', `mesh-docs-${name}`)
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  let before = ''
  for (const [index, block] of blocks.entries()) {
    const prefix = block.flags.includes('continues') ? before : ''
    before = `${prefix}${block.text}\n`
    await writeFile(join(folder, `${index}.ts`), `${before}export {}\n`)
  }
  const config = { extends: join(ROOT, 'tsconfig.json'), include: ['*.ts'], exclude: [] }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))
  const output = blocks.length === 0 ? '' : await compile(folder)
  await rm(folder, { recursive: true, force: true })
  return complaints(output, blocks)
}

function compile(folder: string): Promise<string> {
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [compiler, '-p', '.', '--pretty', 'false'], { cwd: folder }, (error, stdout, stderr) => {
      if (error !== null && stdout === '') reject(new Error(`tsc: ${stderr || error.message}`))
      else resolve(stdout)
    })
  })
}

/** Complaints about the blocks only: what is wrong in the sources is the business of another check. */
function complaints(output: string, blocks: readonly CodeBlock[]): string[] {
  return [...output.matchAll(/^(?:.*\/)?(\d+)\.ts\((\d+),\d+\): error (.*)$/gm)].map(([, index, , message]) => {
    const block = blocks[Number(index)]!
    return `${block.file}:${block.line} ${message}`
  })
}
