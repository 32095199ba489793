// One terminal: the terminal protocol as docs/PROTOCOL.md has it, with no page around it.
//
// Comes back by itself after a random delay, honours `reconnect`, sends again under its id what has
// no result, shows a message of one sender and id once, and acknowledges what was processed.

const END = /^[A-Za-z0-9_.]{1,32}-[A-Za-z0-9_.]{1,32}-[A-Za-z0-9_.@-]{1,64}$/;
/// Delay before a connection: evenly between 0 and a ceiling that doubles. Milliseconds.
const CEILING_MIN = 50;
const CEILING_MAX = 5_000;
/// A session that lived so long had no trouble to begin with. Milliseconds.
const STEADY = 5_000;
/// A connection without a welcome is given up. Milliseconds.
const WELCOME = 15_000;
/// A send without a result: the server's deadline of 10 s, and time for some connections.
const SEND = 30_000;
/// The longest wait that `reconnect` may ask for. Milliseconds.
const RECONNECT_MAX = 600_000;
/// Sends without a result before the server has said how many there may be.
const FIRST_SENDS = 16;
/// Entries that are kept; of the finished ones the oldest go first.
const ENTRIES_MAX = 200;
/// Messages that are remembered to know repeats by: a few hundred bytes each.
const SEEN_MAX = 2_000;

export const validEnd = (text) => END.test(text);

export class Terminal {
  /// `servers()` gives the addresses to try in turn; `changed(entry)` is called after each change,
  /// with the entry where it is one; `clock` notes when ids left and says how long they took.
  constructor({ end, servers, changed, clock }) {
    Object.assign(this, { end, servers, changed, clock });
    this.client = `playground-${crypto.randomUUID()}`;
    this.n = 0;
    this.state = 'offline';
    this.why = '';
    this.url = '';
    this.session = null;
    this.server = null;
    this.limits = null;
    this.entries = [];
    this.auto = true;
    this.cutUntil = 0;
    this.retryAt = 0;
    this.ceiling = CEILING_MIN;
    this.tried = 0;
    /// Entries by sender and id, in the order of arrival.
    this.seen = new Map();
    /// Shown in this session and not acknowledged: [seq, entry], in order.
    this.pending = [];
    this.lastSeq = 0;
  }

  get away() {
    return this.state === 'offline' || this.state === 'ended';
  }

  get openSends() {
    return this.entries.filter((e) => e.kind === 'sent' && !e.outcome);
  }

  get unacked() {
    return this.entries.filter((e) => e.kind === 'got' && !e.processed);
  }

  goOnline() {
    if (!this.away) return;
    this.why = '';
    this.tried = 0;
    this.ceiling = CEILING_MIN;
    this.#connect();
  }

  goOffline() {
    this.#leave();
    this.state = 'offline';
    this.changed();
  }

  /// The line breaks, and no attempt succeeds for so long.
  cut(ms) {
    if (this.away) return;
    this.cutUntil = performance.now() + ms;
    this.#leave();
    this.#lost('line cut');
  }

  /// Takes a message; it waits here while there is no session.
  send(to, body) {
    const entry = { kind: 'sent', id: crypto.randomUUID(), to, body, at: new Date() };
    this.entries.push(entry);
    this.#submit(entry);
  }

  /// The same message again, under its id: for one that has a result and may be tried again.
  sendAgain(entry) {
    if (entry.outcome) this.#submit(entry);
  }

  #submit(entry) {
    // A copy that nobody knows of stays so, whatever becomes of the next.
    const attempts = entry.outcome === 'unknown' ? 1 : 0;
    const open = this.openSends.filter((e) => e !== entry).length;
    if (open >= (this.limits?.openSends ?? FIRST_SENDS)) {
      this.#settle(entry, attempts ? 'unknown' : 'rejected', 'overloaded', true);
      return;
    }
    Object.assign(entry, { outcome: null, reason: undefined, retry: undefined, took: undefined, attempts });
    this.clock.left(entry.id);
    entry.timer = setTimeout(() => this.#settle(entry, entry.attempts ? 'unknown' : 'rejected', 'deadline', true), SEND);
    if (this.#isOpen()) this.#write(entry);
    this.#forget();
    this.changed(entry);
  }

  /// This message and all that were shown before it are processed.
  acknowledge(entry) {
    const upTo = this.entries.indexOf(entry);
    this.entries.forEach((e, i) => {
      if (i <= upTo && e.kind === 'got' && !e.processed) {
        e.processed = true;
        this.changed(e);
      }
    });
    this.#advance();
  }

  setAuto(auto) {
    this.auto = auto;
    const last = this.unacked.at(-1);
    if (auto && last) this.acknowledge(last);
    this.changed();
  }

  #isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  #connect() {
    clearTimeout(this.retry);
    const servers = this.servers();
    this.url = servers[this.tried % servers.length];
    this.n += 1;
    this.tried += 1;
    this.state = 'connecting';
    this.changed();
    if (performance.now() < this.cutUntil) {
      this.#lost('line cut');
      return;
    }
    const [hospitalCode, hosareaCode, ...uid] = this.end.split('-');
    const query = new URLSearchParams({ hospitalCode, hosareaCode, uid: uid.join('-'), client: this.client, n: this.n });
    let socket;
    try {
      socket = new WebSocket(`${this.url}?${query}`, 'wardlink.v1');
    } catch (error) {
      this.state = 'ended';
      this.why = error.message;
      this.changed();
      return;
    }
    this.socket = socket;
    // A socket that was left says nothing any more.
    const mine = (act) => (event) => this.socket === socket && act(event);
    socket.onopen = mine(() => this.#opened());
    socket.onmessage = mine(({ data }) => this.#frame(JSON.parse(data)));
    socket.onclose = mine(({ code, reason }) => this.#closed(code, reason));
    this.welcomeTimer = setTimeout(mine(() => this.#abandon('no welcome')), WELCOME);
  }

  #opened() {
    this.openedAt = performance.now();
    this.pending = [];
    this.lastSeq = 0;
    for (const entry of this.openSends) this.#write(entry);
    this.changed();
  }

  #closed(code, reason) {
    this.#leave();
    if (code >= 4500 && code <= 4999) {
      this.state = 'ended';
      this.why = reason || `closed with ${code}`;
      this.changed();
    } else {
      this.#lost(reason || (code === 1006 ? 'no connection' : `closed with ${code}`));
    }
  }

  #abandon(why) {
    this.#leave();
    this.#lost(why);
  }

  /// Lets go of the socket, whatever state it is in.
  #leave() {
    clearTimeout(this.retry);
    clearTimeout(this.welcomeTimer);
    clearTimeout(this.reconnectTimer);
    const { socket, session, openedAt } = this;
    if (session && performance.now() - openedAt >= STEADY) this.ceiling = CEILING_MIN;
    Object.assign(this, { socket: null, session: null, server: null });
    socket?.close();
  }

  #lost(why) {
    this.why = why;
    this.state = 'waiting';
    const delay = Math.random() * this.ceiling;
    this.ceiling = Math.min(this.ceiling * 2, CEILING_MAX);
    this.retryAt = performance.now() + delay;
    this.retry = setTimeout(() => this.#connect(), delay);
    this.changed();
  }

  #frame(frame) {
    switch (frame.type) {
      case 'welcome':
        clearTimeout(this.welcomeTimer);
        Object.assign(this, { state: 'online', why: '', session: frame.session, server: frame.server, limits: frame.limits });
        this.changed();
        break;
      case 'message':
        this.#message(frame);
        break;
      case 'result': {
        const entry = this.openSends.find((e) => e.id === frame.id);
        if (!entry) break;
        // This session's server knows nothing of a copy that went by an earlier one.
        const other = frame.outcome === 'rejected' && entry.attempts > 1;
        this.#settle(entry, other ? 'unknown' : frame.outcome, frame.reason, frame.retry);
        break;
      }
      case 'reconnect':
        clearTimeout(this.reconnectTimer);
        this.reconnectTimer = setTimeout(() => {
          this.#leave();
          this.#connect();
        }, Math.min(frame.afterMs, RECONNECT_MAX));
        this.why = 'asked to go elsewhere';
        this.changed();
        break;
      case 'error': {
        const entry = this.openSends.find((e) => e.id === frame.id);
        if (entry) this.#settle(entry, 'rejected', 'invalid', false);
        else this.why = frame.text;
        this.changed();
        break;
      }
      // What a later version says besides is left alone.
    }
  }

  #message({ seq, id, from, body, redelivered }) {
    if (seq !== this.lastSeq + 1) {
      this.#abandon('a message is missing');
      return;
    }
    this.lastSeq = seq;
    const key = `${from ?? ''} ${id}`;
    let entry = this.seen.get(key);
    if (entry) {
      // Not a second message: the same one, shown again.
      Object.assign(entry, { seq, times: entry.times + 1, redelivered: entry.redelivered || redelivered });
    } else {
      entry = { kind: 'got', id, from, body, seq, redelivered, times: 1, processed: false, at: new Date(), took: this.clock.took(id) };
      this.entries.push(entry);
      this.seen.set(key, entry);
      if (this.seen.size > SEEN_MAX) this.seen.delete(this.seen.keys().next().value);
    }
    this.pending.push([seq, entry]);
    if (this.auto) entry.processed = true;
    this.#advance();
    this.#forget();
    this.changed(entry);
  }

  /// Acknowledges as far as everything is processed.
  #advance() {
    let upTo = 0;
    while (this.pending[0]?.[1].processed) [upTo] = this.pending.shift();
    if (upTo && this.#isOpen()) this.socket.send(JSON.stringify({ type: 'ack', seq: upTo }));
  }

  #write(entry) {
    entry.attempts += 1;
    const { id, to, body } = entry;
    this.socket.send(JSON.stringify({ type: 'send', id, to, body }));
    this.changed(entry);
  }

  #settle(entry, outcome, reason, retry) {
    clearTimeout(entry.timer);
    Object.assign(entry, { outcome, reason, retry, took: this.clock.took(entry.id) });
    this.#forget();
    this.changed(entry);
  }

  /// Keeps the list short. What has no result, or is not processed, stays.
  #forget() {
    for (let i = 0; this.entries.length > ENTRIES_MAX && i < this.entries.length; ) {
      const entry = this.entries[i];
      if (entry.outcome || entry.processed) this.entries.splice(i, 1);
      else i += 1;
    }
  }
}
