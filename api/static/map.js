// The map: a ring of up to RING_MAX nodes with this node's links, a grid above. A pulse runs along a link
// when a record came over it.

import { SHAPES, stateLabel, stateWords } from "./states.js";

const RING_MAX = 32;
/** Above this many there is room for names only: what state a node is in, its shape says. */
const ROOMY_MAX = 12;
const WIDTH = 360;
const PULSE_MS = 500;
/** Pulses on one link at most so often: hundreds of records a second are one steady beat. */
const PULSE_EVERY_MS = 150;

const SVG = "http://www.w3.org/2000/svg";
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Map {
  constructor(svg, onChoose) {
    this.svg = svg;
    this.onChoose = onChoose;
    this.marks = new globalThis.Map(); // by key
    this.layers = ["ring", "links", "pulses", "nodes"].map((name) => this.svg.appendChild(make("g", { class: name })));
    this.pulsedAt = new globalThis.Map();
  }

  show(nodes, chosen) {
    this.nodes = nodes;
    const ring = nodes.length <= RING_MAX;
    const height = ring ? this.#ring(nodes) : this.#grid(nodes);
    this.svg.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
    this.svg.classList.toggle("grid", !ring);
    this.crowded = nodes.length > ROOMY_MAX;
    this.svg.classList.toggle("crowded", this.crowded);
    const keys = new Set(nodes.map(({ key }) => key));
    for (const [key, mark] of this.marks) {
      if (!keys.has(key)) {
        mark.group.remove();
        this.marks.delete(key);
      }
    }
    for (const node of nodes) this.#mark(node, chosen);
    this.#links(ring ? nodes : []);
  }

  /** A client posted here: it goes to all peers. */
  pulseOut() {
    const [self, ...others] = this.nodes ?? [];
    for (const node of others) this.#pulse(self, node);
  }

  /** A record came over the link with the node of this id. */
  pulseIn(id) {
    const node = (this.nodes ?? []).find((known) => known.id === id);
    if (node) this.#pulse(node, this.nodes[0]);
  }

  #ring(nodes) {
    const alone = nodes.length === 1;
    const [rx, ry] = alone ? [0, 0] : nodes.length <= 8 ? [112, 68] : [104, Math.max(120, nodes.length * 5.5)];
    const [x, y] = [WIDTH / 2, ry + 48];
    this.places = new globalThis.Map(nodes.map(({ key }, index) => {
      const angle = (2 * Math.PI * index) / nodes.length - Math.PI / 2;
      return [key, { x: x + rx * Math.cos(angle), y: y + ry * Math.sin(angle), dx: Math.cos(angle), dy: alone ? 1 : Math.sin(angle) }];
    }));
    this.layers[0].replaceChildren(...(alone ? [] : [make("ellipse", { cx: x, cy: y, rx, ry })]));
    return Math.max(y + ry, ...[...this.places.values()].map((place) => place.y + 24)) + 8;
  }

  #grid(nodes) {
    const columns = Math.ceil(Math.sqrt(nodes.length * 1.6));
    const step = WIDTH / columns;
    this.places = new globalThis.Map(nodes.map(({ key }, index) => [
      key,
      { x: (index % columns) * step + step / 2, y: Math.floor(index / columns) * step + step / 2, dx: 0, dy: 1, scale: Math.min(1, step / 26) },
    ]));
    this.layers[0].replaceChildren();
    return Math.ceil(nodes.length / columns) * step;
  }

  #mark(node, chosen) {
    let mark = this.marks.get(node.key);
    if (!mark) {
      const group = make("g", { class: "node", tabindex: "0", role: "button" });
      mark = { group, halo: make("circle", { r: 15, class: "halo" }), shape: make("path", {}), name: make("text", { class: "name" }), state: make("text", { class: "state" }) };
      group.append(mark.halo, mark.shape, mark.name, mark.state);
      group.addEventListener("click", () => this.onChoose(node.key));
      group.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        this.onChoose(node.key);
      });
      this.marks.set(node.key, mark);
      this.layers[3].append(group);
    }
    const { x, y, dx, dy, scale = 1 } = this.places.get(node.key);
    const said = node.state === "up" || this.crowded ? "" : stateLabel(node);
    mark.group.dataset.state = node.state;
    set(mark.group, { transform: `translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${scale.toFixed(2)})`, "aria-label": `${node.name}: ${stateWords(node)}`, "aria-pressed": String(node.key === chosen) });
    set(mark.shape, { d: SHAPES[node.state] ?? SHAPES.member });
    const anchor = Math.abs(dx) < 0.15 ? "middle" : dx > 0 ? "start" : "end";
    const [tx, ty] = anchor === "middle" ? [0, dy < 0 ? (said ? -32 : -20) : 28] : [dx > 0 ? 18 : -18, said ? -1 : 5];
    label(mark.name, node.name, tx, ty, anchor, this.crowded ? 14 : 18);
    label(mark.state, said, tx, ty + 14, anchor, 18);
  }

  #links(nodes) {
    const [self, ...others] = nodes;
    this.layers[1].replaceChildren(...others.filter(({ state }) => state === "up" || state === "suspect").map((node) => {
      const [a, b] = [this.places.get(self.key), this.places.get(node.key)];
      return make("line", { x1: a.x, y1: a.y, x2: b.x, y2: b.y, "data-state": node.state });
    }));
  }

  #pulse(from, to) {
    if (still.matches || document.hidden || this.svg.classList.contains("grid")) return;
    const linked = [from, to].every(({ state }) => state === "up" || state === "self");
    const now = performance.now();
    const link = `${from.key} ${to.key}`;
    if (!linked || now - (this.pulsedAt.get(link) ?? -Infinity) < PULSE_EVERY_MS) return;
    this.pulsedAt.set(link, now);
    const [a, b] = [this.places.get(from.key), this.places.get(to.key)];
    const dot = make("circle", { r: 4 });
    this.layers[2].append(dot);
    const at = ({ x, y }) => ({ transform: `translate(${x}px, ${y}px)` });
    dot.animate([at(a), at(b)], { duration: PULSE_MS, easing: "ease-in-out" }).finished.finally(() => dot.remove());
  }
}

function make(name, attributes) {
  return set(document.createElementNS(SVG, name), attributes);
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  }
  return element;
}

function label(element, text, x, y, anchor, charsMax) {
  const brief = text.length > charsMax ? `${text.slice(0, charsMax - 1)}…` : text;
  if (element.textContent !== brief) element.textContent = brief;
  set(element, { x, y, "text-anchor": anchor });
}
