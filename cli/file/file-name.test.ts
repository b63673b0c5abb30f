import { describe, expect, test } from 'vitest'
import { numberedFileName, safeFileName } from './file-name.ts'

describe('safeFileName', () => {
  test.each([
    ['photo.jpg', 'photo.jpg'],
    ['Grüße 2026.txt', 'Grüße 2026.txt'],
    ['../../etc/passwd', 'passwd'],
    ['/etc/passwd', 'passwd'],
    ['C:\\Windows\\win.ini', 'win.ini'],
    ['..', 'file'],
    ['.', 'file'],
    ['', 'file'],
    ['dir/', 'file'],
    ['.bashrc', 'bashrc'],
    ['...hidden', 'hidden'],
    ['name. . ', 'name'],
    ['a\u0000b', 'a_b'],
    ['a\u001b[31mb', 'a_[31mb'],
    ['exe.\u202egpj', 'exe._gpj'],
    ['what?*:.txt', 'what___.txt'],
    ['CON', '_CON'],
    ['nul.txt', '_nul.txt'],
    ['console.log', 'console.log'],
  ])('turns %j into %j', (suggested, name) => {
    expect(safeFileName(suggested)).toBe(name)
  })

  test('keeps the extension of a name that is too long, and fits into 255 bytes with a number', () => {
    const name = safeFileName(`${'ü'.repeat(300)}.tar.gz`)
    expect(name.endsWith('ü.tar.gz')).toBe(true)
    expect(Buffer.byteLength(numberedFileName(name, 999))).toBeLessThanOrEqual(255)
    expect(Buffer.byteLength(`.${name}.0123456789abcdef.part`)).toBeLessThanOrEqual(255)
  })
})

test.each([
  ['photo.jpg', 0, 'photo.jpg'],
  ['photo.jpg', 2, 'photo (2).jpg'],
  ['backup.tar.gz', 1, 'backup (1).tar.gz'],
  ['README', 1, 'README (1)'],
])('numberedFileName makes %s number %d', (name, number, expected) => {
  expect(numberedFileName(name, number)).toBe(expected)
})
