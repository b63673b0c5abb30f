import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Browser, BrowserContext } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { launchChromium } from '../swarm/site.ts'
import { StartedPlayground } from './started-playground.ts'
import { newContext, Tab } from './tab.ts'

/** Pictures of the page, for people to look at. */
const PICTURES = join(import.meta.dirname, '../../.artifacts/playground')

let playground: StartedPlayground
let url: string
let browser: Browser
let context: BrowserContext
let ada: Tab
let bob: Tab

beforeAll(async () => {
  playground = await StartedPlayground.start('--port', '0')
  url = await playground.url()
  browser = await launchChromium()
  context = await newContext(browser)
  ada = await Tab.open(context, url)
})

afterAll(async () => {
  await browser?.close()
  await playground?.dispose()
})

/** The tests tell one story, in order: who is there in one is still there in the next. */
describe('the playground page', () => {
  test('connects directly to the resident, who greets and says back what it is told', async () => {
    await ada.directTo('Resident')
    await ada.conversation.getByText(/^Welcome, /).waitFor()
    const message = await ada.say('Hello there')
    await message.getByText('Delivered to Resident').waitFor()
    await ada.hears('You said: Hello there')
    expect(playground.stdout).toMatch(/\+ .* joined {3}mesh1/)
  })

  test('opened twice in one browser is two peers, and all three are connected', async () => {
    bob = await Tab.open(context, url)
    expect(await bob.id()).not.toBe(await ada.id())
    await Promise.all([ada.directTo(await bob.name), bob.directTo(await ada.name), bob.directTo('Resident')])
    // What the resident and the other tab say about each other is drawn too.
    await ada.page.locator('.chord.path-direct').waitFor({ state: 'attached' })
    expect(await ada.page.locator('.link.path-direct').count()).toBe(2)
    expect(await ada.page.getByRole('img', { name: /^The swarm: you are connected to/ }).count()).toBe(1)
  })

  test('carries messages between tabs, with a name that can be changed', async () => {
    await ada.nameField.fill('Ada')
    await ada.page.keyboard.press('Enter')
    await bob.person('Ada').waitFor()
    const message = await ada.say('Hello, other tab <b>&amp;</b>')
    await bob.hears('Hello, other tab <b>&amp;</b>')
    await message.getByText(/^Delivered to .* and /).waitFor()
  })

  test('sends a file to another tab, with progress and a checksum both sides agree on', async () => {
    const contents = randomBytes(3_000_000)
    const checksum = createHash('sha256').update(contents).digest('hex')
    await ada.sendFile(await bob.name, { name: 'holiday.jpg', contents })
    await ada.transfer('holiday.jpg').getByText('Waiting for').waitFor()
    await bob.transfer('holiday.jpg').getByText('3.0 MB, from Ada').waitFor()
    await bob.page.getByRole('button', { name: 'Accept' }).click()
    await Promise.all([ada, bob].map((tab) => tab.transfer('holiday.jpg').getByText(`SHA-256 ${checksum}`).waitFor()))
    const download = bob.page.waitForEvent('download')
    await bob.page.getByRole('link', { name: 'Save' }).click()
    expect((await download).suggestedFilename()).toBe('holiday.jpg')
    expect(contents.equals(await readFile(await (await download).path()))).toBe(true)
  })

  test('sends nothing that the other side does not want', async () => {
    await bob.sendFile('Ada', { name: 'spam.txt', contents: Buffer.from('buy') })
    await ada.page.getByRole('button', { name: 'Decline' }).click()
    await bob.transfer('spam.txt').getByText('They did not want it.').waitFor()
  })

  test('sends a file that is dropped on the resident, who checks it', async () => {
    await bob.dropFile('Resident', { name: 'notes.txt', text: 'dropped' })
    await bob.transfer('notes.txt').getByText('Arrived, checksum matches').waitFor()
    await bob.conversation.getByText(/^I got notes\.txt \(7 B\)\. Its SHA-256 .* is right\.$/).waitFor()
    expect(playground.stdout).toMatch(/# .* notes\.txt \(7 B\) arrived/)
  })

  test('shows the diagnosis of a connection, by keyboard alone', async () => {
    const toggle = ada.page.getByRole('button', { name: 'Details of the connection to Resident' })
    await toggle.focus()
    await ada.page.keyboard.press('Enter')
    const details = ada.person('Resident').locator('.details')
    await details.getByText('up, encrypted end to end').waitFor()
    await details.getByText('direct (WebRTC)').waitFor()
    expect(await toggle.getAttribute('aria-expanded')).toBe('true')
    await ada.page.keyboard.press('Enter')
    await details.waitFor({ state: 'hidden' })
  })

  test('goes through the server when the direct path is cut, says so, and travels directly again', async () => {
    const bobsName = await bob.name
    await ada.page.getByRole('button', { name: `Details of the connection to ${bobsName}` }).click()
    const details = ada.person(bobsName).locator('.details')
    await details.getByRole('button', { name: 'Cut the direct path' }).click()
    await Promise.all([ada.relayedTo(bobsName), bob.relayedTo('Ada')])
    await ada.say('The long way')
    await bob.hears('The long way')
    await ada.conversation.getByText(`Messages to ${bobsName} go through the server now`).waitFor()
    expect(await ada.page.locator('.link.path-relay').count()).toBe(1)
    await ada.directTo('Resident')
    await mkdir(PICTURES, { recursive: true })
    await ada.page.screenshot({ path: join(PICTURES, 'direct-path-cut.png'), fullPage: true })
    await details.getByRole('button', { name: 'Allow the direct path again' }).click()
    await Promise.all([ada.directTo(bobsName), bob.directTo('Ada')])
    await bob.conversation.getByText('Messages to Ada travel directly again').waitFor()
    await ada.page.getByRole('button', { name: `Details of the connection to ${bobsName}` }).click()
  })

  test.each([
    ['phone', 360, 740],
    ['tablet', 800, 1_000],
    ['desktop', 1_280, 800],
  ] as const)('fits a %s, light and dark', async (device, width, height) => {
    await mkdir(PICTURES, { recursive: true })
    const { page } = bob
    await page.setViewportSize({ width, height })
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      await page.screenshot({ path: join(PICTURES, `${device}-${colorScheme}.png`), fullPage: true })
      expect(await bob.overflow()).toBeLessThanOrEqual(0)
    }
    const ground = await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor)
    await page.emulateMedia({ colorScheme: 'light' })
    expect(await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor)).not.toBe(ground)
  })

  test('goes to another party by its name, and others follow the link', async () => {
    await bob.partyField.fill('café & friends')
    await bob.page.keyboard.press('Enter')
    await bob.page.getByText('Nobody else is here yet').waitFor()
    await ada.conversation.getByText(/ left$/).waitFor()
    const guest = await Tab.open(context, bob.page.url())
    await guest.directTo(await bob.name)
    expect(await guest.partyField.inputValue()).toBe('café & friends')
    await guest.page.close()
    await bob.page.getByText('Nobody else is here yet').waitFor()
    await bob.page.goBack()
    await bob.directTo('Ada')
  })

  test('takes whoever follows a broken address to the default party, and says why', async () => {
    const guest = await Tab.open(context, `${url}#key/abcd`)
    await guest.hears('The address names no party. After "key/" stand 64 hexadecimal digits; here are 4 characters.')
    await guest.directTo('Resident')
    expect(guest.complaints).toEqual([])
    await guest.page.close()
  })

  test('has not complained on its console', () => {
    expect([...ada.complaints, ...bob.complaints]).toEqual([])
  })

  test('goes on without the server, says why it waits, and is whole again when the server is back', async () => {
    await playground.end('SIGKILL')
    await ada.page.getByRole('status').getByText('The server does not answer.').waitFor()
    expect([await ada.overflow(), await bob.overflow()].every((pixels) => pixels <= 0)).toBe(true)
    await bob.say('Still talking')
    await ada.hears('Still talking')
    playground.restart('--port', new URL(url).port)
    await playground.url()
    for (const tab of [ada, bob]) {
      await tab.page.getByRole('status').getByText('In the party').waitFor({ timeout: 60_000 })
      await tab.directTo('Resident')
    }
  }, 120_000)

  test('lets the program end while it is open', async () => {
    expect((await playground.end('SIGINT')).code).toBe(0)
  })
})
