import { directoryContract } from '../testing/directory-contract.ts'
import { MemoryDirectory } from './memory-directory.ts'

directoryContract('the directory in memory', (setUp) => new MemoryDirectory(setUp))
