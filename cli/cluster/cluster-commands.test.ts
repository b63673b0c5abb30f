import { describe, expect, test } from 'vitest'
import { CommandKeys, parseCommand } from './cluster-commands.ts'

describe('a command for a cluster', () => {
  test.each([
    ['kill 2', { verb: 'kill', number: 2 }],
    ['k2', { verb: 'kill', number: 2 }],
    [' RESTART 3 ', { verb: 'restart', number: 3 }],
    ['s 1', { verb: 'suspend', number: 1 }],
    ['continue 1', { verb: 'continue', number: 1 }],
    ['quit', { verb: 'quit' }],
    ['q', { verb: 'quit' }],
    ['kill 4', 'kill needs the number of a server, 1 to 3'],
    ['kill', 'kill needs the number of a server, 1 to 3'],
    ['kill two', '"kill two" is none of kill, restart, suspend, continue, quit'],
    ['kil 2', '"kil 2" is none of kill, restart, suspend, continue, quit'],
    ['2', '"2" is none of kill, restart, suspend, continue, quit'],
  ])('"%s" is read from a line', (line, command) => {
    expect(parseCommand(line, 3)).toEqual(command)
  })

  const press = (servers: number, keys: string) => {
    const pressed = new CommandKeys(servers)
    return { commands: [...keys].map((key) => pressed.press(key)).filter(Boolean), question: pressed.question }
  }

  test.each([
    [3, 'k2', [{ verb: 'kill', number: 2 }]],
    [
      3,
      'ks2r1',
      [
        { verb: 'suspend', number: 2 },
        { verb: 'restart', number: 1 },
      ],
    ],
    [3, 'k42', []],
    [3, 'k\u001b2', []],
    [3, 'k0', []],
    [3, '2', []],
    [3, 'q', [{ verb: 'quit' }]],
    [3, 'kq', [{ verb: 'quit' }]],
    [12, 'c2', [{ verb: 'continue', number: 2 }]],
    [12, 'c12', [{ verb: 'continue', number: 12 }]],
    [12, 'c1\r', [{ verb: 'continue', number: 1 }]],
    [12, 'c1x', []],
    [12, 'c13', []],
  ])('among %i servers, the keys %j are understood', (servers, keys, commands) => {
    expect(press(servers, keys)).toEqual({ commands, question: undefined })
  })

  test('asks for its number as long as there can be one', () => {
    expect(press(12, 'k').question).toBe('kill which one, 1 to 12? ')
    expect(press(12, 'k1').question).toBe('kill which one, 1 to 12? 1')
  })
})
