// The card of one terminal: shows what it does, and tells it what a person wants.

import { validEnd } from './terminal.js';

/// How long a cut line stays cut, in milliseconds.
const CUT_MS = 3_000;
const BURST = 10;

let fields = 0;

/// An element with a class and text; no markup comes from a message.
export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

export function duration(ms) {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1_000)} s`;
}

/// An address as people write it.
export const address = (url) => url.replace(/^wss?:\/\/|\/ws$/g, '');

function bodyText(body) {
  return typeof body === 'string' ? body : JSON.stringify(body);
}

function bodyOf(text) {
  if (!/^\s*[[{]/.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const STATES = {
  offline: 'offline',
  connecting: 'connecting',
  waiting: 'reconnecting',
  online: 'online',
  ended: 'replaced',
};

export class Card {
  /// `page` knows the servers and the other terminals.
  constructor(terminal, letter, page) {
    Object.assign(this, { terminal, letter, page, rows: new Map() });
    const template = document.getElementById('card');
    this.root = template.content.firstElementChild.cloneNode(true);
    this.root.dataset.terminal = letter;
    this.root.setAttribute('aria-label', `Terminal ${letter}`);
    this.root.querySelector('.letter').textContent = letter;
    for (const name of ['end', 'server', 'state', 'auto', 'log', 'to', 'targets', 'body', 'facts', 'say']) {
      this[name] = this.root.querySelector(`[data-field="${name}"]`);
    }
    for (const label of this.root.querySelectorAll('[data-for]')) {
      fields += 1;
      const field = this[label.dataset.for];
      field.id = `field-${fields}`;
      label.htmlFor = field.id;
    }
    this.toggle = this.action('toggle', () => (terminal.away ? this.goOnline() : terminal.goOffline()));
    this.cut = this.action('cut', () => terminal.cut(CUT_MS));
    this.action('remove', () => page.remove(this)).setAttribute('aria-label', `Remove terminal ${letter}`);
    this.action('burst', () => this.send(BURST));
    this.end.value = terminal.end;
    this.end.addEventListener('input', () => this.showEnd());
    this.end.addEventListener('change', () => page.endsChanged());
    this.end.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') this.goOnline();
    });
    this.server.addEventListener('change', () => {
      // Another server: the session moves there.
      if (!terminal.away) {
        terminal.goOffline();
        terminal.goOnline();
      }
    });
    this.auto.addEventListener('change', () => terminal.setAuto(this.auto.checked));
    this.root.querySelector('form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.send(1);
    });
    this.to.addEventListener('input', () => this.to.setCustomValidity(''));
  }

  action(name, act) {
    const button = this.root.querySelector(`[data-action="${name}"]`);
    button.addEventListener('click', act);
    return button;
  }

  showEnd() {
    const ok = validEnd(this.end.value.trim());
    this.end.setCustomValidity(ok ? '' : 'hospital-area-uid, for example H1-W2-pump');
    this.end.toggleAttribute('aria-invalid', !ok);
    return ok;
  }

  goOnline() {
    if (!this.terminal.away) return;
    if (!this.showEnd()) {
      this.end.reportValidity();
      return;
    }
    this.terminal.end = this.end.value.trim();
    this.page.endsChanged();
    this.terminal.goOnline();
  }

  send(times) {
    const to = this.to.value.trim();
    this.to.setCustomValidity(validEnd(to) ? '' : 'hospital-area-uid, for example H1-W2-pump');
    if (!this.to.reportValidity()) return;
    const text = this.body.value.trim() || this.page.phrase();
    for (let i = 1; i <= times; i += 1) {
      this.terminal.send(to, times === 1 ? bodyOf(text) : `${text} (${i} of ${times})`);
    }
    this.body.value = '';
    this.body.focus();
  }

  /// The servers to choose from, where they changed.
  showServers(servers) {
    const wanted = servers.map(({ url, name }) => [url, `${name} · ${address(url)}`]).concat([['', 'any server']]);
    const now = [...this.server.options].map((o) => [o.value, o.text]);
    if (JSON.stringify(wanted) === JSON.stringify(now)) return;
    const chosen = this.server.options.length ? this.server.value : this.terminal.url;
    this.server.replaceChildren(...wanted.map(([url, name]) => new Option(name, url)));
    this.server.value = wanted.some(([url]) => url === chosen) ? chosen : wanted[0][0];
  }

  /// The other terminals, to be chosen as target.
  showTargets(others) {
    const key = JSON.stringify(others);
    if (key === this.targetsKey) return;
    this.targetsKey = key;
    this.targets.replaceChildren(...others.map(({ letter, end }) => {
      const chip = element('button', 'target', letter);
      chip.type = 'button';
      chip.title = end;
      chip.setAttribute('aria-label', letter === '…' ? `To ${end}, who is away` : `To terminal ${letter}, ${end}`);
      chip.addEventListener('click', () => {
        this.to.value = end;
        this.to.setCustomValidity('');
        this.body.focus();
      });
      return chip;
    }));
    // A target that nobody chose follows its terminal's name; who is away is only a last resort.
    const followed = others.find((o) => o.letter === this.toLetter && o.letter !== '…') ?? others[0];
    if (followed && (!this.to.value || this.to.value === this.toSet)) {
      this.to.value = followed.end;
      this.toSet = followed.end;
      this.toLetter = followed.letter;
    }
  }

  /// Shows the terminal as it is now; `entry` is what changed of its messages.
  show(entry) {
    const { terminal } = this;
    const { state } = terminal;
    this.root.dataset.state = state;
    const label = state === 'ended' && !terminal.why.startsWith('replaced') ? 'closed' : STATES[state];
    if (this.state.textContent !== label) this.state.textContent = label;
    this.toggle.lastElementChild.textContent = terminal.away ? 'Go online' : 'Go offline';
    this.toggle.classList.toggle('primary', terminal.away);
    this.cut.disabled = terminal.away;
    this.end.readOnly = !terminal.away;
    this.showFacts();
    if (entry) this.showEntry(entry);
    if (this.rows.size > terminal.entries.length) this.dropRows();
    const first = this.log.firstElementChild;
    if (!this.rows.size && !first) this.log.append(element('li', 'nothing', 'Nothing yet. What this terminal sends and gets is listed here.'));
    else if (this.rows.size && first.className === 'nothing') first.remove();
  }

  showFacts() {
    const { terminal } = this;
    const facts = [];
    const fact = (name, value) => {
      const made = element('span', 'fact', `${name} `);
      made.append(element('b', '', value));
      facts.push(made);
    };
    if (terminal.why) facts.push(element('span', 'why', terminal.why));
    if (terminal.session) fact('session', terminal.session.slice(0, 8));
    if (terminal.n) fact('connection', String(terminal.n));
    const unacked = terminal.unacked.length;
    if (unacked) fact('not acknowledged', String(unacked));
    const open = terminal.openSends.length;
    if (open) fact('without result', String(open));
    this.facts.replaceChildren(...facts);
  }

  dropRows() {
    const kept = new Set(this.terminal.entries);
    for (const [entry, row] of this.rows) {
      if (!kept.has(entry)) {
        row.remove();
        this.rows.delete(entry);
      }
    }
  }

  showEntry(entry) {
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 60;
    let row = this.rows.get(entry);
    if (!row) {
      row = element('li');
      this.rows.set(entry, row);
      this.log.append(row);
    }
    const focused = row.contains(document.activeElement);
    if (entry.kind === 'sent') this.showSent(row, entry);
    else this.showGot(row, entry);
    if (focused) this.log.focus();
    if (atEnd || entry.kind === 'sent') this.log.scrollTop = this.log.scrollHeight;
  }

  showSent(row, entry) {
    const { outcome, reason, retry, took, to, body, id, attempts } = entry;
    const name = outcome ?? 'open';
    row.className = `entry sent ${name}`;
    Object.assign(row.dataset, { id, outcome: name });
    const badge = element('span', `outcome ${name}`);
    badge.append(icon(name), outcome ?? (attempts ? 'on its way' : 'waits for a connection'));
    const facts = element('div', 'facts');
    facts.append(badge);
    if (reason) facts.append(element('span', 'reason', reason));
    if (took !== undefined) facts.append(this.took(took, 'From send to result'));
    if (attempts > 1) facts.append(element('span', 'fact', `sent ${attempts}×`));
    if (retry) facts.append(this.button('Send again', 'Under the same id: it is shown once', () => this.terminal.sendAgain(entry)));
    row.replaceChildren(this.head('to', to, entry), element('p', 'body', bodyText(body)), facts);
    if (!outcome) entry.said = false;
    else if (!entry.said) {
      entry.said = true;
      this.say.textContent = `Message to ${to}: ${outcome}${reason ? `, ${reason}` : ''}`;
    }
  }

  showGot(row, entry) {
    const { id, from, body, seq, redelivered, times, processed, took } = entry;
    row.className = `entry got${processed ? '' : ' unacked'}`;
    Object.assign(row.dataset, { id, redelivered, acked: processed });
    const facts = element('div', 'facts');
    facts.append(element('span', 'seq', `seq ${seq}`));
    if (took !== undefined) facts.append(this.took(took, 'From the sender’s card to this one'));
    if (redelivered) {
      const badge = element('span', 'outcome again');
      badge.append(icon('again'), 'redelivered');
      facts.append(badge);
    }
    if (times > 1) facts.append(element('span', 'fact', `came ${times}×, shown once`));
    if (processed) {
      const acked = element('span', 'acked');
      acked.append(icon('check'), 'acknowledged');
      facts.append(acked);
    } else {
      facts.append(this.button('Acknowledge', 'This message and all before it', () => this.terminal.acknowledge(entry)));
    }
    row.replaceChildren(this.head('from', from ?? 'unknown', entry), element('p', 'body', bodyText(body)), facts);
    if (entry.said !== times) {
      entry.said = times;
      this.say.textContent = `Message from ${from ?? 'unknown'}: ${bodyText(body)}${redelivered ? ', redelivered' : ''}`;
    }
  }

  head(word, end, entry) {
    const head = element('div', 'head', `${word} `);
    head.append(element('b', '', end));
    const time = element('time', '', entry.at.toLocaleTimeString([], { hour12: false }));
    time.dateTime = entry.at.toISOString();
    head.append(time);
    return head;
  }

  button(text, title, act) {
    const button = element('button', 'button small', text);
    button.type = 'button';
    button.title = title;
    button.addEventListener('click', act);
    return button;
  }

  took(ms, title) {
    const made = element('span', 'took');
    made.title = title;
    made.append(icon('clock'), duration(ms));
    return made;
  }
}
