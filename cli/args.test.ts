import { describe, expect, test } from 'vitest'
import { type ArgumentRules, parseInput } from './args.ts'
import { UsageError } from './failure.ts'

const rules: ArgumentRules = {
  usage: 'mesh example',
  arguments: [
    { name: 'party', meaning: 'where' },
    { name: 'file', meaning: 'what', optional: true },
  ],
  options: {
    port: { value: 'port', short: 'p', meaning: 'a number' },
    host: { value: 'host', multiple: true, meaning: 'names' },
    drain: { value: 'time', meaning: 'a time' },
    size: { value: 'size', meaning: 'a size' },
    key: { value: 'hex', meaning: 'a key' },
    to: { value: 'peer id', multiple: true, meaning: 'peers' },
    metrics: { meaning: 'a flag' },
  },
}

const parse = (...args: string[]) => parseInput(args, rules)

function refusal(run: () => unknown): UsageError {
  try {
    run()
  } catch (error) {
    if (error instanceof UsageError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

describe('the parser', () => {
  test('gives arguments and options in any order', () => {
    const input = parse('--port', '80', 'our-party', '--metrics', 'photo.jpg', '--host=a', '--host', 'b')
    expect([input.argument(0), input.argument(1)]).toEqual(['our-party', 'photo.jpg'])
    expect(input.whole('port')).toBe(80)
    expect(input.list('host')).toEqual(['a', 'b'])
    expect(input.flag('metrics')).toBe(true)
  })

  test('takes short options and the last of several values', () => {
    expect(parse('x', '-p', '1', '-p', '2').whole('port')).toBe(2)
  })

  test('takes a flag back by --no-', () => {
    expect(parse('x', '--no-metrics').flag('metrics')).toBe(false)
    expect(parse('x').flag('metrics')).toBeUndefined()
  })

  test('takes everything after -- as arguments', () => {
    expect(parse('--', '--port').argument(0)).toBe('--port')
  })

  test.each([
    ['--prot', 'Did you mean --port?'],
    ['--met', 'Did you mean --metrics?'],
    ['--colour', '`mesh example --help` lists the options.'],
    ['-x', '`mesh example --help` lists the options.'],
  ])('refuses the unknown option %s with advice', (option, hint) => {
    const error = refusal(() => parse('x', option))
    expect(error.message).toBe(`unknown option ${option}`)
    expect(error.hint).toBe(hint)
  })

  test.each([
    [['x', '--port'], '--port needs a value: --port <port>'],
    [['x', '--port='], '--port needs a value: --port <port>'],
    [['x', '--port', '--metrics'], '--port needs a value: --port <port>'],
    [['x', '--metrics=yes'], '--metrics takes no value, but got "yes"'],
    [['x', '--no-port'], 'unknown option --no-port'],
    [[], '<party> is missing'],
    [['x', 'y', 'z'], 'unexpected argument "z"'],
    [['x', '--constructor'], 'unknown option --constructor'],
  ])('refuses %j', (args, message) => {
    expect(refusal(() => parse(...args)).message).toBe(message)
  })
})

describe('values', () => {
  test.each([
    ['500ms', 500],
    ['5', 5_000],
    ['2m', 120_000],
    ['1.5h', 5_400_000],
  ])('a time of %s is %d ms', (text, ms) => {
    expect(parse('x', '--drain', text).durationMs('drain')).toBe(ms)
  })

  test('a time counts bare numbers in the unit it is asked for', () => {
    expect(parse('x', '--drain', '250').durationMs('drain', { bareUnitMs: 1 })).toBe(250)
  })

  test.each([
    ['1024', 1_024],
    ['64KiB', 65_536],
    ['1.5 MB', 1_500_000],
  ])('a size of %s is %d bytes', (text, bytes) => {
    expect(parse('x', '--size', text).bytes('size')).toBe(bytes)
  })

  test('a key is 32 bytes of hexadecimal in either case', () => {
    expect(parse('x', '--key', 'AB'.repeat(32)).key('key')).toEqual(new Uint8Array(32).fill(0xab))
  })

  test.each([
    ['port', '80a', '--port needs a whole number, not "80a"'],
    ['port', '70000', '--port must be from 0 to 65535, not 70000'],
    ['drain', 'soon', '--drain needs a time like 500ms, 10s or 2m, not "soon"'],
    ['size', '5 parsecs', '--size needs a size like 65536, 64KiB or 2GB, not "5 parsecs"'],
    ['key', 'abc', '--key needs a key of 64 hexadecimal digits, not "abc"'],
  ])('--%s refuses %s', (option, text, message) => {
    const input = parse('x', `--${option}=${text}`)
    const read = {
      port: () => input.whole('port', { max: 65_535 }),
      drain: () => input.durationMs('drain'),
      size: () => input.bytes('size'),
      key: () => input.key('key'),
    }[option] as () => unknown
    expect(refusal(read).message).toBe(message)
  })

  test('a peer id with a mistake is refused with the place of the mistake', () => {
    expect(() => parse('x', '--to', 'mesh1qqqq').peerIds('to')).toThrow(/63 characters; this has 9/)
  })
})
