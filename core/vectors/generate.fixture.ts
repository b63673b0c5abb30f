/** `node -C source core/vectors/generate.fixture.ts`: writes docs/vectors anew. */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { allVectors } from './all.fixture.ts'

const folder = new URL('../../docs/vectors/', import.meta.url)
for (const [name, text] of await allVectors()) {
  writeFileSync(new URL(name, folder), text)
  console.log(fileURLToPath(new URL(name, folder)))
}
