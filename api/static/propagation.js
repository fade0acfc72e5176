// How long posts of this page took to reach the nodes, from the receipts: one line each on a common axis, a dot
// for each node. Above the full mesh nodes report for others, and the one dot is when the last was heard of.

import { count, visible } from "./format.js";

const ROWS_MAX = 8;
/** Receipts that the percentiles are of. */
const KEPT_MAX = 200;
const SCALES_MS = [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 60_000];

const $ = (id) => document.getElementById(id);

export class Propagation {
  constructor() {
    this.kept = []; // newest first
  }

  /** Take a receipt; one without `reach` was not waited for. */
  add({ id, reach }) {
    if (!reach) return;
    this.kept.unshift({ id, reach });
    this.kept.length = Math.min(this.kept.length, KEPT_MAX);
    $("propagation").hidden = false;
    const shown = this.kept.slice(0, ROWS_MAX);
    const longest = Math.max(...shown.map((post) => post.reach.ms));
    const scale = SCALES_MS.find((most) => most >= longest) ?? longest;
    $("propagation-rows").replaceChildren(...shown.map((post) => row(post, scale)));
    $("propagation-axis").textContent = "";
    for (const part of [0, 0.5, 1]) {
      const mark = document.createElement("span");
      mark.textContent = `${count(part * scale)} ms`;
      $("propagation-axis").append(mark);
    }
    $("propagation-summary").textContent = summary(this.kept);
  }
}

function row({ id, reach }, scale) {
  const [item, name, track, text] = ["li", "span", "span", "span"].map((tag) => document.createElement(tag));
  name.className = "id";
  name.textContent = visible(id);
  track.className = "track";
  const others = reach.scope === "tree" ? [{ name: "the last node", ms: reach.ms }] : (reach.peers ?? []);
  const dots = [{ name: "this node", ms: 0 }, ...others];
  track.role = "img";
  track.ariaLabel = dots.map(said).join(", ");
  track.classList.toggle("part", reach.ok < reach.of);
  for (const dot of dots) {
    const mark = document.createElement("i");
    mark.title = said(dot);
    mark.style.left = `${Math.min(100, (100 * dot.ms) / scale)}%`;
    track.append(mark);
  }
  text.className = "figure";
  text.textContent = `${reach.ok}/${reach.of} · ${count(reach.ms)} ms`;
  item.append(name, track, text);
  return item;
}

const said = ({ name, ms }) => `${visible(name)}: ${ms.toFixed(1)} ms`;

/** The percentiles of the posts that reached every node. Pure. */
export function summary(posts) {
  const times = posts.filter(({ reach }) => reach.ok === reach.of).map(({ reach }) => reach.ms).sort((a, b) => a - b);
  if (!times.length) return "";
  const at = (part) => times[Math.min(times.length - 1, Math.ceil(part * times.length) - 1)];
  return `p50 ${count(at(0.5))} ms · p99 ${count(at(0.99))} ms`;
}
