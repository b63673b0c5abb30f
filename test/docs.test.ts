/** The documentation tells the truth: its commands exist, its TypeScript compiles, its links lead somewhere. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { listFiles, ROOT, readManifest, readText } from './architecture/repository.ts'
import { type CodeBlock, codeBlocks, commandsIn, meshCommandsIn, npmScriptsIn } from './docs/markdown.ts'
import { typecheck } from './docs/typecheck.ts'

const documents = listFiles().filter((path) => path.endsWith('.md'))
const blocks = documents.flatMap((path) => codeBlocks(path, readText(path)))
const inLanguage = (...languages: string[]): CodeBlock[] =>
  blocks.filter(({ language }) => languages.includes(language))

const block = (text: string, flags: string[] = []): CodeBlock => ({
  file: 'a.md',
  line: 1,
  language: 'ts',
  flags,
  text,
})

test('there is a README', () => {
  expect(documents).toContain('README.md')
})

describe('npm scripts', () => {
  const scripts = Object.keys(readManifest('').scripts ?? {})

  test.each(documents)('%s names only scripts that exist', (path) => {
    expect(npmScriptsIn(readText(path)).filter((name) => !scripts.includes(name))).toEqual([])
  })

  test('are found in sentences and commands', () => {
    const text = 'Run `npm run bench -- --quick`, or:\n```sh\nnpm test -- core\nnpm run --silent test:pack\n```'
    expect(npmScriptsIn(text)).toEqual(['bench', 'test:pack', 'test'])
  })
})

describe('mesh commands', () => {
  const commands = [...new Set(inLanguage('sh').flatMap(meshCommandsIn))]

  test.each(commands)('mesh %s explains itself', { timeout: 60_000 }, async (command) => {
    const run = promisify(execFile)(process.execPath, ['-C', 'source', join(ROOT, 'cli/main.ts'), command, '--help'])
    await expect(run).resolves.toMatchObject({ stdout: expect.stringContaining(command) })
  })

  test('are found however they are started', () => {
    const text =
      '$ mesh serve --port 0\n# mesh gone\nnpx mesh id  # own id\nnpm run mesh -- peers \\\n  our-party\nmeshed x'
    expect(meshCommandsIn(block(text))).toEqual(['serve', 'id', 'peers'])
    expect(commandsIn(block(text))).toContain('npm run mesh -- peers our-party')
  })
})

describe('TypeScript snippets', () => {
  test('compile', { timeout: 60_000 }, async () => {
    expect(await typecheck(inLanguage('ts', 'typescript'), 'snippets')).toEqual([])
  })

  test('that do not compile are found, at their place in the document', { timeout: 60_000 }, async () => {
    const samples = [
      block("import { MeshError } from '@mesh/core'\nconst error: MeshError | undefined = undefined"),
      block('const again = error', ['continues']),
      { ...block('const text: string = await Promise.resolve(1)'), line: 7 },
    ]
    expect(await typecheck(samples, 'samples')).toEqual([expect.stringMatching(/^a\.md:7 TS2322/)])
  })
})

describe('links', () => {
  const linksIn = (text: string): string[] =>
    [...text.matchAll(/\]\(([^)\s]+)\)/g)]
      .map((match) => match[1] ?? '')
      .filter((link) => !/^(https?:|mailto:|#)/.test(link))

  test.each(documents)('%s links only to files that exist', (path) => {
    const missing = linksIn(readText(path)).filter((link) => {
      const target = link.split('#')[0] ?? ''
      return !existsSync(join(ROOT, dirname(path), target))
    })
    expect(missing).toEqual([])
  })

  test('are found', () => {
    expect(linksIn('[a](b.md#c) [d](https://example.com) [e](#f)')).toEqual(['b.md#c'])
  })
})
