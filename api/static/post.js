// The form that posts, the same as command lines, and what became of it in the API's own words.

import * as credentials from "./credentials.js";
import { count, plural, shellWord, visible } from "./format.js";

const TIMEOUT = "5s";
const $ = (id) => document.getElementById(id);

export class PostForm {
  /**
   * @param {() => boolean} needsCredentials whether the node asks who posts
   * @param {(receipt: object) => void} onPosted told of every record that is held
   */
  constructor(needsCredentials, onPosted) {
    this.needsCredentials = needsCredentials;
    this.onPosted = onPosted;
    this.busy = false;
    $("post").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#post();
    });
    $("post").addEventListener("input", () => this.commands());
    $("post-raw").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("post").requestSubmit();
    });
    for (const button of document.querySelectorAll("[data-copy]")) {
      button.addEventListener("click", () => copy($(button.dataset.copy), button));
    }
    this.commands();
  }

  /** Write the command lines for what stands in the form. */
  commands() {
    const { raw, id, wait } = asked();
    const query = wait ? "?wait=all" : "";
    const body = shellWord(raw || "hello");
    const who = this.needsCredentials() ? " -u USER:PASSWORD" : "";
    const target = id ? `-X PUT --data-raw ${body} ${shellWord(`${location.origin}/v1/records/${encodeURIComponent(id)}${query}`)}` : `--data-raw ${body} ${shellWord(`${location.origin}/v1/records${query}`)}`;
    $("post-curl").textContent = visible(`curl${who} ${target}`);
    const options = [wait && "--wait all", id && `--id ${shellWord(id)}`, who && "--user USER:PASSWORD"].filter(Boolean);
    const words = ["dayfly post", ...options, `--node ${shellWord(location.origin)}`, body.startsWith("-") ? "--" : "", body];
    $("post-cli").textContent = visible(words.filter(Boolean).join(" "));
  }

  async #post() {
    if (this.busy) return;
    this.busy = true;
    $("post-send").setAttribute("aria-disabled", "true");
    this.#say("", "Posting …");
    try {
      await this.#send(asked());
    } catch {
      this.#say("bad", "The node did not answer; nothing is known of this record. Post it again with the same id.");
    } finally {
      this.busy = false;
      $("post-send").removeAttribute("aria-disabled");
    }
  }

  async #send({ raw, id, wait }) {
    let answer = await request(raw, id, wait);
    let told = await answer.json();
    while (told.code === "auth-required" || told.code === "forbidden") { // none, wrong ones, good for reading only
      credentials.forget();
      this.#say("bad", told.detail);
      if (!(await credentials.ask(told.detail))) return;
      answer = await request(raw, id, wait);
      told = await answer.json();
    }
    if (!answer.ok) {
      this.#say("bad", told.detail ?? told.title ?? `The node answered ${answer.status}.`);
      return;
    }
    this.#say(answer.status === 202 ? "partial" : "good", outcome(told));
    this.onPosted(told);
    if (told.result === "stored") {
      $("post-raw").value = "";
      $("post-id").value = "";
      this.commands();
    }
  }

  #say(kind, text) {
    $("post-result").dataset.kind = kind;
    $("post-result").textContent = visible(text);
  }
}

function asked() {
  return { raw: $("post-raw").value, id: $("post-id").value, wait: $("post-wait").checked };
}

function request(raw, id, wait) {
  return fetch(`/v1/records${wait ? `?wait=all&timeout=${TIMEOUT}` : ""}`, {
    method: "POST",
    body: JSON.stringify(id ? { raw, id } : { raw }),
    headers: { "content-type": "application/json", ...credentials.headers() },
    credentials: "omit", // else the browser would ask in its own way, and keep the answer
  });
}

function outcome({ result, reach }) {
  const before = result === "exists" ? "It was there already. " : "";
  if (!reach) return `${before}Held by this node and on its way to the others.`;
  if (reach.ok < reach.of) {
    return `${before}${reach.ok}/${plural(reach.of, "node")} after ${count(reach.ms)} ms; it spreads further.`;
  }
  return `${before}${reach.ok}/${plural(reach.of, "node")} in ${count(reach.ms)} ms`;
}

async function copy(element, button) {
  const label = button.firstChild;
  const before = "Copy";
  try {
    await navigator.clipboard.writeText(element.textContent);
    label.textContent = "Copied";
  } catch { // not allowed here: the text is marked, so that the keyboard can
    getSelection().selectAllChildren(element);
    label.textContent = "Ctrl+C";
  }
  setTimeout(() => {
    label.textContent = before;
  }, 1500);
}
