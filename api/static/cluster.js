// The cluster's panel: the map or the same as a table, and the card of the node that was chosen.

import { count, measured } from "./format.js";
import { Map as ClusterMap } from "./map.js";
import { stateWords } from "./states.js";

const $ = (id) => document.getElementById(id);
const ms = (value) => (value === null || value === undefined ? "–" : `${value.toFixed(1)} ms`);
const same = (value) => (value === true ? "equal" : value === false ? "not equal" : "–");

const COLUMNS = [
  { title: "Node", of: (node) => node.name, text: (node) => node.name },
  { title: "State", of: (node) => node.state, text: (node) => stateWords(node) },
  { title: "Round trip", of: (node) => node.rtt_ms ?? -1, text: (node) => ms(node.rtt_ms), number: true },
  { title: "Skew", of: (node) => node.offset_ms ?? 0, text: (node) => (node.offset_ms == null ? "–" : `${node.offset_ms} ms`), number: true },
  { title: "Records", of: (node) => node.records ?? -1, text: (node) => (node.records == null ? "–" : count(node.records)), number: true },
  { title: "Contents", of: (node) => same(node.in_sync), text: (node) => same(node.in_sync) },
  { title: "Address", of: (node) => node.address, text: (node) => node.address },
];

export class Cluster {
  constructor() {
    this.map = new ClusterMap($("map"), (key) => this.#choose(key));
    this.nodes = [];
    this.chosen = null;
    this.sorted = { column: 0, up: true };
    this.cells = new Map();
    this.#head();
    $("show-map").addEventListener("click", () => this.#view(true));
    $("show-table").addEventListener("click", () => this.#view(false));
  }

  show(nodes) {
    this.nodes = nodes;
    this.map.show(nodes, this.chosen);
    this.#table();
    this.#card();
  }

  /** A record came from the node with this id ("here": from a client of this one). */
  delivered(source) {
    if (source === "here") this.map.pulseOut();
    else this.map.pulseIn(source);
  }

  #view(asMap) {
    $("map-view").hidden = !asMap;
    $("table-view").hidden = asMap;
    $("show-map").setAttribute("aria-pressed", String(asMap));
    $("show-table").setAttribute("aria-pressed", String(!asMap));
  }

  #choose(key) {
    this.chosen = this.chosen === key ? null : key;
    this.show(this.nodes);
  }

  #card() {
    const node = this.nodes.find(({ key }) => key === this.chosen);
    $("card").hidden = !node;
    if (!node) return;
    const lines = [
      ["State", stateWords(node)],
      ["Peers reach it at", node.address],
      ["Clients reach it at", node.http],
      ["Round trip", node.rtt_ms == null ? "" : ms(node.rtt_ms)],
      ["Clock beside ours", node.offset_ms == null ? "" : `${node.offset_ms > 0 ? "+" : ""}${node.offset_ms} ms`],
      ["Records", node.records == null ? "" : count(node.records)],
      ["Contents beside ours", node.state === "self" || node.in_sync == null ? "" : same(node.in_sync)],
      ["Last in step", node.synced_s == null ? "" : `${measured(node.synced_s * 1000)} ago`],
      ["Last heard", node.heard_s == null ? "" : `${measured(node.heard_s * 1000)} ago`],
      ["Link", node.state === "lost" ? "" : node.link],
      ["Version", node.version ?? ""],
      ["Trouble", node.error ?? ""],
    ].filter(([, text]) => text);
    const key = JSON.stringify([node.name, lines]);
    if (key === this.drawn) return;
    this.drawn = key;
    const title = element("h3", node.name);
    const list = element("dl", "");
    for (const [name, text] of lines) list.append(element("dt", name), element("dd", text));
    $("card").replaceChildren(title, list);
  }

  #head() {
    COLUMNS.forEach(({ title, number }, index) => {
      const cell = element("th", "");
      cell.scope = "col";
      cell.classList.toggle("number", Boolean(number));
      const button = element("button", title);
      button.type = "button";
      button.addEventListener("click", () => {
        this.sorted = { column: index, up: this.sorted.column === index ? !this.sorted.up : true };
        this.#table();
      });
      cell.append(button);
      $("nodes").tHead.rows[0].append(cell);
    });
  }

  #table() {
    const { column, up } = this.sorted;
    const of = COLUMNS[column].of;
    const sign = up ? 1 : -1;
    const nodes = [...this.nodes].sort((a, b) => sign * (of(a) < of(b) ? -1 : of(a) > of(b) ? 1 : 0));
    [...$("nodes").tHead.rows[0].cells].forEach((cell, index) => {
      if (index === column) cell.setAttribute("aria-sort", up ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    });
    $("nodes").tBodies[0].replaceChildren(
      ...nodes.map((node) => {
        const row = element("tr", "");
        row.dataset.state = node.state;
        row.append(...COLUMNS.map(({ text, number }) => {
          const cell = element("td", text(node));
          cell.classList.toggle("number", Boolean(number));
          return cell;
        }));
        return row;
      }),
    );
  }
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
