/**
 * A face for a key: a colour and an animal derived from it, so that people can talk about each other before anybody has typed
 * a name. Many keys share one (14 colours, 64 animals): the short id beside it tells them apart, the full id proves it.
 */
export interface Nickname {
  /** For example "Teal Otter". */
  readonly text: string
  /** The colour the name speaks of, as a hue in degrees. */
  readonly hue: number
}

const COLOURS: readonly (readonly [name: string, hue: number])[] = [
  ['Crimson', 22],
  ['Coral', 38],
  ['Amber', 62],
  ['Golden', 85],
  ['Olive', 112],
  ['Fern', 142],
  ['Mint', 165],
  ['Teal', 190],
  ['Azure', 228],
  ['Cobalt', 258],
  ['Indigo', 282],
  ['Violet', 304],
  ['Orchid', 326],
  ['Rose', 0],
]

/** 64, so that six bits of the key choose one evenly. */
const ANIMALS: readonly string[] = [
  ...['Otter', 'Heron', 'Fox', 'Lynx', 'Wren', 'Badger', 'Marten', 'Hare', 'Owl', 'Seal', 'Swift', 'Newt', 'Finch'],
  ...['Beaver', 'Crane', 'Dormouse', 'Egret', 'Falcon', 'Gecko', 'Hedgehog', 'Ibex', 'Jay', 'Kestrel', 'Lark', 'Mole'],
  ...['Nightjar', 'Osprey', 'Puffin', 'Quail', 'Raven', 'Stoat', 'Tern', 'Urchin', 'Vole', 'Wombat', 'Yak', 'Zebra'],
  ...[
    'Bison',
    'Curlew',
    'Dolphin',
    'Eider',
    'Ferret',
    'Gannet',
    'Ibis',
    'Koala',
    'Lemur',
    'Magpie',
    'Narwhal',
    'Ocelot',
  ],
  ...['Panda', 'Robin', 'Salmon', 'Tapir', 'Walrus', 'Bee', 'Carp', 'Deer', 'Emu', 'Gull', 'Hoopoe', 'Kiwi', 'Llama'],
  ...['Moth', 'Orca'],
]

/** The nickname of a public key. */
export function nicknameOf(key: Uint8Array): Nickname {
  // The first bytes of an Ed25519 key are as good as random; the last holds the sign and is kept out.
  const [colour, hue] = COLOURS[(key[0] ?? 0) % COLOURS.length] ?? ['Grey', 0]
  const animal = ANIMALS[(key[1] ?? 0) % ANIMALS.length] ?? 'Peer'
  return { text: `${colour} ${animal}`, hue }
}
