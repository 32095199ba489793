// The page: its terminals, and the servers that it asks about themselves each second.

import { Card } from './card.js';
import { Panel } from './servers.js';
import { Terminal } from './terminal.js';

const POLL_MS = 1_000;
/// Above the second that a server takes at most.
const ANSWER_MS = 2_000;
const TERMINALS_MAX = 8;
/// Messages whose departure is remembered; the oldest go first.
const DEPARTURES_MAX = 2_000;

const LETTERS = 'ABCDEFGH';
const ENDS = ['H1-W1-nurse', 'H1-W2-pump', 'H1-W2-tablet', 'H1-W3-monitor', 'H1-W3-doctor', 'H2-W1-nurse', 'H2-W1-pump', 'H2-W4-board'];
const PHRASES = ['Bed 7 calls', 'Pause the infusion', 'Please come to room 12', 'Blood pressure 128/82', 'Lunch is served', 'Alarm acknowledged'];
/// Nobody has this end at first: a message to it is stored.
const AWAY = 'H1-W2-away';

/// The server of this page.
let own = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`;
const cards = [];
const panel = new Panel();
/// By address: what each server said last, or null.
const states = new Map([[own, null]]);
let phrases = 0;
let polling = null;

const clock = {
  departures: new Map(),
  left(id) {
    this.departures.set(id, performance.now());
    if (this.departures.size > DEPARTURES_MAX) this.departures.delete(this.departures.keys().next().value);
  },
  took(id) {
    const left = this.departures.get(id);
    return left === undefined ? undefined : performance.now() - left;
  },
};

const page = {
  phrase: () => PHRASES[phrases++ % PHRASES.length],
  endsChanged: () => {
    showTargets();
    poll();
  },
  remove: (card) => {
    card.terminal.goOffline();
    cards.splice(cards.indexOf(card), 1);
    card.root.remove();
    document.getElementById('add').disabled = false;
    document.getElementById('add').focus();
    showTargets();
    poll();
  },
};

function add(online) {
  const letter = [...LETTERS].find((l) => cards.every((c) => c.letter !== l));
  if (!letter) return;
  const used = cards.map((c) => c.end.value);
  const terminal = new Terminal({
    end: ENDS.find((e) => !used.includes(e)) ?? `H1-W1-${letter}`,
    servers: () => (card.server.value ? [card.server.value] : [...states.keys()]),
    changed: (entry) => card.show(entry),
    clock,
  });
  const card = new Card(terminal, letter, page);
  cards.push(card);
  document.getElementById('terminals').append(card.root);
  document.getElementById('add').disabled = cards.length >= TERMINALS_MAX;
  const servers = named();
  card.showServers(servers);
  card.server.value = servers[(cards.length - 1) % servers.length].url;
  showTargets();
  card.show();
  if (online) card.goOnline();
  return card;
}

function showTargets() {
  const all = cards.map((c) => ({ letter: c.letter, end: c.end.value.trim() }));
  for (const card of cards) {
    card.showTargets([...all.filter((o) => o.letter !== card.letter), { letter: '…', end: AWAY }]);
  }
}

function named() {
  return [...states].map(([url, state], i) => ({
    name: `BS ${i + 1}`,
    url,
    state,
    own: url === own || (state !== null && state.server === states.get(own)?.server),
  }));
}

async function ask(url) {
  const address = new URL(url.replace(/^ws/, 'http').replace(/\/ws$/, '/playground/state'));
  for (const card of cards) address.searchParams.append('end', card.end.value.trim());
  const answer = await fetch(address, { signal: AbortSignal.timeout(ANSWER_MS), cache: 'no-store' });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

async function look() {
  await Promise.all([...states.keys()].map(async (url) => {
    const state = await ask(url).catch(() => null);
    if (states.has(url)) states.set(url, state);
  }));
  // The servers know of each other; the one of this page keeps its place in their list.
  const known = states.get(own)?.servers ?? [];
  if (known.length && !known.every((url) => states.has(url))) {
    const self = known.includes(own) ? [] : [own];
    const before = new Map(states);
    states.clear();
    for (const url of [...self, ...known, ...before.keys()]) states.set(url, before.get(url) ?? null);
    return look();
  }
  // One server under two addresses, such as localhost and 127.0.0.1, is one.
  const same = states.get(own) && [...states].find(([url, s]) => url !== own && s?.server === states.get(own).server);
  if (same) {
    states.delete(own);
    [own] = same;
  }
  show();
}

function show() {
  const servers = named();
  const answers = servers.map((s) => s.state).filter(Boolean);
  const newest = answers.filter((s) => s.view).sort((a, b) => (BigInt(a.view.number) > BigInt(b.view.number) ? -1 : 1))[0];
  const partitions = answers[0]?.ends ?? {};
  const ends = cards.map((c) => ({ letter: c.letter, end: c.end.value.trim(), partition: partitions[c.end.value.trim()] }));
  for (const card of cards) card.showServers(servers);
  panel.show(servers, newest?.view ?? null, ends);
}

/// Looks now, and again each second. A look under way is waited for.
let timer;
function poll() {
  clearTimeout(timer);
  polling ??= look().finally(() => {
    polling = null;
    clearTimeout(timer);
    timer = setTimeout(poll, POLL_MS);
  });
  return polling;
}

document.getElementById('add').addEventListener('click', () => add(true)?.body.focus());
document.getElementById('add-server').addEventListener('submit', (event) => {
  event.preventDefault();
  const field = event.target.elements.address;
  const url = field.value.trim();
  let ok = false;
  try {
    ok = /^wss?:$/.test(new URL(url).protocol) && url.endsWith('/ws');
  } catch {
    // Not even an address.
  }
  field.setCustomValidity(ok ? '' : 'ws://127.0.0.1:port/ws');
  field.reportValidity();
  if (!ok) return;
  field.value = '';
  if (!states.has(url)) states.set(url, null);
  poll();
});
document.getElementById('server-address').addEventListener('input', (event) => event.target.setCustomValidity(''));

// The servers first, so that the two terminals are on different ones from the beginning.
await poll();
add(true);
add(true);
show();
poll();
