// The panel at the side: servers, members of the view, and the map of its partitions.

import { address, duration, element } from './card.js';

const COLOURS = 8;
const LINE = 16;

const short = (id) => id.slice(0, 8);

/// Only what changed is written, so that a screen reader and a text selection are left alone.
function put(list, rows, make, fill) {
  while (list.children.length > rows.length) list.lastElementChild.remove();
  while (list.children.length < rows.length) list.append(make());
  rows.forEach((row, i) => fill(list.children[i], row));
}

function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

function row() {
  const item = element('li');
  item.append(element('i', 'dot'), element('b', 'name'), element('span', 'tag'), element('span', 'detail'), element('span', 'id'));
  return item;
}

export class Panel {
  constructor() {
    for (const id of ['bs', 'ms', 'view', 'map', 'owners']) this[id] = document.getElementById(id);
    /// Colours by member, kept as long as the page.
    this.colours = new Map();
    this.cells = Array.from({ length: 256 }, () => element('span', 'cell'));
    this.map.append(...this.cells);
  }

  colour(id) {
    if (!this.colours.has(id)) this.colours.set(id, this.colours.size % COLOURS);
    return `m${this.colours.get(id)}`;
  }

  /// `servers`: name, url, state (null where it does not answer), own. `view` and `members` of the
  /// newest answer; `ends`: letter, end, partition of each terminal.
  show(servers, view, ends) {
    put(this.bs, servers, row, (item, { name, url, state, own }) => {
      const [dot, title, tag, detail, id] = item.children;
      item.className = state ? '' : 'down';
      dot.className = `dot ${state ? 'up' : 'down'}`;
      text(title, name);
      text(tag, own ? 'this page' : '');
      tag.hidden = !own;
      const sessions = state && `${state.sessions} ${state.sessions === 1 ? 'session' : 'sessions'}`;
      text(detail, sessions ?? 'does not answer');
      text(id, state ? `${address(url)} · ${short(state.server)}` : url);
      item.title = state ? state.server : '';
    });
    put(this.ms, view?.members ?? [], row, (item, member) => {
      const [dot, title, tag, detail, id] = item.children;
      const gone = member.heardMs === null;
      item.className = gone ? 'down' : '';
      dot.className = `swatch ${this.colour(member.id)}`;
      text(title, `MS ${short(member.id)}`);
      text(tag, gone ? 'no link' : '');
      tag.hidden = !gone;
      text(detail, `${member.partitions} of 256`);
      const links = member.links === null ? '' : `${member.links} ${member.links === 1 ? 'link' : 'links'}`;
      // A ping each half second; between two looks the number would only flicker.
      const heard = gone ? '' : member.heardMs < 1_500 ? 'heard just now' : `heard ${duration(member.heardMs)} ago`;
      text(id, [links, heard].filter(Boolean).join(' · '));
      item.title = member.id;
    });
    text(this.view, view ? `View ${view.number}` : 'No view yet.');
    this.showMap(view, ends);
  }

  showMap(view, ends) {
    const at = new Map();
    for (const { letter, partition } of ends) {
      if (partition !== undefined) at.set(partition, (at.get(partition) ?? '') + letter);
    }
    this.cells.forEach((cell, i) => {
      const owner = view?.members[view.owners[i]];
      const letters = at.get(i) ?? '';
      const wanted = `cell ${owner ? this.colour(owner.id) : 'none'}${letters ? ' marked' : ''}`;
      if (cell.className !== wanted) cell.className = wanted;
      text(cell, letters.length > 1 ? '+' : letters);
      const title = `partition ${i}: ${owner ? `MS ${short(owner.id)}` : 'nobody'}${letters ? `, terminal ${[...letters].join(', ')}` : ''}`;
      if (cell.title !== title) cell.title = title;
    });
    const shares = view?.members.map((m) => `MS ${short(m.id)} owns ${m.partitions}`).join(', ');
    this.map.setAttribute('aria-label', shares ? `Of 256 partitions, in ${LINE} rows: ${shares}` : 'No view yet');
    const make = () => {
      const item = element('li');
      item.append(element('span', 'letter'), element('b', 'name'), element('span', 'detail'), element('i', 'swatch'), element('span', 'id'));
      return item;
    };
    put(this.owners, ends, make, (item, { letter, end, partition }) => {
      const [mark, name, detail, swatch, id] = item.children;
      const owner = view?.members[view.owners[partition]];
      text(mark, letter);
      text(name, end);
      text(detail, partition === undefined ? '' : `partition ${partition}`);
      swatch.className = `swatch ${owner ? this.colour(owner.id) : 'none'}`;
      text(id, owner ? `MS ${short(owner.id)}` : 'nobody yet');
    });
  }
}
