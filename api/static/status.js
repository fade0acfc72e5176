// What the node says of itself and its peers, asked for every two seconds; the header shows it.

import { count, duration, visible } from "./format.js";

const EVERY_MS = 2000;
const TIMEOUT_MS = 5000;
/** How long a node that left is still shown, fading. */
export const LEFT_MS = 5000;

/** A store without room for a record of this size is called full. */
const SMALL_BYTES = 1024;

/** What a node says when it is stopped, not lost: it is not waited for. */
const GOODBYE = "the node is shutting down";
/** Measurements of the node's clock that are kept; the one with the shortest round trip is the best. */
const CLOCKS_MAX = 8;

const $ = (id) => document.getElementById(id);

export class Status {
  /** @param {(nodes: object[]) => void} onNodes told of all nodes after each look: this one first */
  constructor(onNodes) {
    this.onNodes = onNodes;
    this.node = null;
    this.nodes = []; // this node first, then by name
    this.connected = false;
    this.offsetMs = 0; // the node's clock minus the browser's
    this.clocks = [];
    this.names = new Map();
    this.goodbyes = new Map(); // addresses of nodes that were stopped, and when that was heard
    setInterval(() => document.hidden || this.look(), EVERY_MS);
    document.addEventListener("visibilitychange", () => document.hidden || this.look());
  }

  /** Unix milliseconds by the node's clock. */
  now = () => Date.now() + this.offsetMs;

  nameOf = (id) => this.names.get(id) ?? id.slice(0, 8);

  /** A record was posted here at this time: the node's clock is not behind it. */
  notBefore(timeMs) {
    this.offsetMs = Math.max(this.offsetMs, timeMs - Date.now());
  }

  /** A link to a peer came or went. */
  peer({ peer, state, reason }) {
    const known = this.nodes.find(({ id }) => id === peer);
    if (known && state === "down" && reason === GOODBYE) this.goodbyes.set(known.address, performance.now());
    this.look();
  }

  /** The socket is up, or down. */
  connection(up) {
    this.connected = up;
    this.look();
    this.#header();
  }

  async look() {
    this.lookAgain = this.looking; // what is on its way may be older than what we were called for
    if (this.looking) return;
    this.looking = true;
    const began = performance.now();
    try {
      const start = Date.now();
      const node = await ask("/v1/node");
      const end = Date.now();
      this.#clock(node.wall_ms - (start + end) / 2, end - start);
      const { peers } = await ask("/v1/peers");
      this.node = node;
      this.#remember(node, peers, began);
    } catch { /* the socket says it when the node is gone */
    } finally {
      this.looking = false;
    }
    this.#header();
    if (this.lookAgain) this.look();
  }

  #clock(offsetMs, tripMs) {
    if (Math.abs(offsetMs - this.offsetMs) > 1000) this.clocks = []; // one of the clocks was set
    this.clocks.push({ offsetMs, tripMs });
    this.clocks = this.clocks.slice(-CLOCKS_MAX);
    this.offsetMs = this.clocks.reduce((best, one) => (one.tripMs < best.tripMs ? one : best)).offsetMs;
  }

  #remember(node, peers, began) {
    const now = performance.now();
    const own = { key: node.peer, id: node.id, name: node.name, address: node.peer, http: node.http[0] ?? "", state: "self", in_sync: node.in_sync, records: node.records, version: node.version, link: node.links };
    const before = new Map(this.nodes.map((known) => [known.key, known]));
    for (const { address, state } of peers)
      if (state !== "lost" && this.goodbyes.get(address) < began) this.goodbyes.delete(address);
    const expected = peers.filter(({ address, state }) => state !== "lost" || !this.goodbyes.has(address));
    const found = expected.map(shown).map((peer) => {
      const key = peer.address || peer.id;
      const known = before.get(key);
      return { ...peer, key, link: peer.key, id: peer.id || (known?.id ?? ""), name: peer.name || (known?.name ?? peer.address) };
    });
    const unique = new Map([own, ...found].map((entry) => [entry.key, entry]));
    for (const known of this.nodes.slice(1)) {
      if (unique.has(known.key) || (known.id && found.some((peer) => peer.id === known.id))) continue;
      const leftAt = known.leftAt ?? now;
      if (now - leftAt < LEFT_MS) unique.set(known.key, { ...known, state: "left", leftAt });
    }
    const [, ...others] = unique.values();
    others.sort((a, b) => a.name.localeCompare(b.name));
    this.nodes = [own, ...others];
    for (const { id, name } of this.nodes) if (id) this.names.set(id, name);
    this.onNodes(this.nodes);
  }

  #header() {
    const node = this.node;
    const [state, words] = health(this.connected, node, this.nodes);
    if ($("health").dataset.state !== state || $("health-words").textContent !== words) {
      $("health").dataset.state = state;
      $("health").querySelector("use").setAttribute("href", `#mark-${state}`);
      $("health-words").textContent = words;
    }
    if (!node) return;
    document.title = `${node.name} · Dayfly`;
    $("node-name").textContent = node.name;
    $("cluster-name").textContent = node.cluster;
    $("node-version").textContent = `dayfly ${node.version}`;
    const others = this.nodes.filter(({ state: s }) => s !== "left" && s !== "self").length;
    $("fact-peers").textContent = `${count(node.peers_up)}/${count(Math.max(others, node.members - 1))}`;
    $("fact-records").textContent = count(node.records);
    const oldest = node.oldest_time_stamp;
    $("fact-oldest").textContent = oldest === null ? "–" : duration(oldest + node.limits.ttl_ms - this.now());
    $("fact-links").textContent = node.links === "open" ? "open" : "locked";
    $("fact-links").title = node.links;
  }
}

/** The state of everything in one word for the mark and some for people. Pure. */
export function health(connected, node, nodes) {
  if (!connected) return node ? ["lost", "No connection to this node; trying again"] : ["wait", "Connecting"];
  if (!node) return ["wait", "Connecting"];
  if (!node.ready) return ["wait", "Catching up with the others"];
  if (node.journal?.trouble) return ["lost", `Posts are refused: ${node.journal.trouble}`];
  const { records_max: recordsMax, bytes_max: bytesMax } = node.limits;
  if (node.records >= recordsMax || node.bytes + SMALL_BYTES > bytesMax) return ["lost", "Full: posts are refused until records expire"];
  const lost = nodes.filter(({ state }) => state === "lost");
  if (lost.length) return ["suspect", lost.length === 1 ? `${lost[0].name} cannot be reached` : `${lost.length} nodes cannot be reached`];
  const silent = nodes.filter(({ state }) => state === "suspect");
  if (silent.length) return ["suspect", silent.length === 1 ? `${silent[0].name} is silent` : `${silent.length} nodes are silent`];
  if (!node.in_sync) return ["wait", "Comparing with the others"];
  if (node.members < 2) return ["up", "Alone, and well"];
  return ["up", `Healthy: all ${node.members} nodes hold the same`];
}

/** What a peer says of itself, with its control characters made visible. */
function shown(peer) {
  return Object.fromEntries(Object.entries(peer).map(([key, value]) => [key, typeof value === "string" ? visible(value) : value]));
}

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}
