// One WebSocket to this page's node, for as long as the page lives: it follows records from a cursor, and
// after any break goes on from the last one it was given. Whoever listens drops what it knows already:
// after a restart of the node known records come again.

const BATCH = 250;
const RETRY_MS = { first: 250, last: 5000 };
const PING_MS = 10_000;
/** So long after a question without a word the connection is given up: a node that vanished closes nothing.
    Not merely after a silence: in a tab in the background timers are minutes late, and nobody has asked. */
const ANSWER_MS = 15_000;

export class Connection {
  /**
   * @param {{records: Function, notice: Function, subscribed: Function, up: Function, down: Function}} listener
   */
  constructor(listener) {
    this.listener = listener;
    this.since = null; // a cursor, once there is one
    this.prefix = "";
    this.number = 0; // names subscriptions, so that what a former one still says is known
    this.retries = 0;
    this.socket = null;
    this.heardAt = -Infinity;
    setInterval(() => this.#ping(), PING_MS);
    addEventListener("online", () => this.#retry());
  }

  /** Follow records whose ids begin with `prefix`, from `since` on; what was followed before is left. */
  follow(prefix, since) {
    this.prefix = prefix;
    this.since = since;
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.#say({ op: "unsubscribe", feed: this.#feed() });
      this.#subscribe();
    } else if (this.socket === null) {
      this.#connect();
    }
  }

  #feed() {
    return `live-${this.number}`;
  }

  #connect() {
    clearTimeout(this.timer);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = (this.socket = new WebSocket(`${scheme}://${location.host}/v1/ws`));
    this.#expect();
    socket.onopen = () => {
      this.#subscribe();
    };
    socket.onmessage = ({ data }) => {
      this.heardAt = performance.now();
      this.#hear(JSON.parse(data));
    };
    socket.onclose = () => {
      if (this.socket === socket) this.#lost();
    };
  }

  #subscribe() {
    this.number += 1;
    this.#say({ op: "subscribe", ref: this.#feed(), feed: this.#feed(), since: this.since, prefix: this.prefix, batch: BATCH });
  }

  #say(message) {
    this.socket.send(JSON.stringify(message));
  }

  #hear(said) {
    if (said.event === "error" && said.ref === this.#feed()) this.socket.close(); // full; later there may be room
    if (said.feed !== this.#feed()) return;
    if (said.event === "subscribed") {
      this.retries = 0;
      this.listener.up();
      this.listener.subscribed();
    } else if (said.event === "records") {
      this.listener.records(said.records);
    } else if (said.event === "record") {
      this.listener.records([said]);
    } else {
      this.listener.notice(said);
    }
    if (said.cursor) this.since = said.cursor;
  }

  #lost() {
    this.socket = null;
    const most = Math.min(RETRY_MS.last, RETRY_MS.first * 2 ** this.retries);
    this.retries += 1;
    this.listener.down();
    this.timer = setTimeout(() => this.#connect(), most * (0.5 + Math.random() / 2));
  }

  #retry() {
    if (this.socket === null && this.since !== null) this.#connect();
  }

  #ping() {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    this.#say({ op: "ping" });
    this.#expect();
  }

  /** Give the socket up if nothing has been heard of it `ANSWER_MS` from now. */
  #expect() {
    const [socket, askedAt] = [this.socket, performance.now()];
    setTimeout(() => {
      if (this.socket !== socket || this.heardAt >= askedAt) return;
      this.#lost();
      socket.close();
    }, ANSWER_MS);
  }
}
