// The page: one socket that follows, one look at the node every two seconds, and the panels they feed.

import { Cluster } from "./cluster.js";
import { Connection } from "./connection.js";
import { Feed } from "./feed.js";
import { duration } from "./format.js";
import { PostForm } from "./post.js";
import { Propagation } from "./propagation.js";
import { Status } from "./status.js";

/** With more records than this, only those of the last SINCE are asked for: 500 are shown anyway. */
const ALL_MAX = 2000;
const SINCE = ["10m", 600_000];

const cluster = new Cluster();
const propagation = new Propagation();
const status = new Status((nodes) => cluster.show(nodes));
const feed = new Feed(status, (prefix) => {
  feed.clear();
  connection.follow(prefix, since());
});
const post = new PostForm(
  () => status.node?.access?.writing === "protected",
  (receipt) => propagation.add(receipt),
);

const connection = new Connection({
  up: () => status.connection(true),
  down: () => status.connection(false),
  subscribed: () => feed.caughtUp(),
  records: (records) => {
    for (const { source, time_stamp } of records) if (source === "here") status.notBefore(time_stamp);
    feed.add(records);
    for (const { source } of records) if (source) cluster.delivered(source);
  },
  notice: (event) => {
    if (event.event === "expired") feed.remove(event.digest);
    else if (event.event === "superseded") feed.remove(event.loser);
    else if (event.event === "peer") status.peer(event);
  },
});

function since() {
  const many = (status.node?.records ?? 0) > ALL_MAX;
  const older = document.getElementById("feed-older");
  older.hidden = !many;
  older.textContent = `Older records than ${duration(SINCE[1])} are held by the node and not listed here.`;
  return many ? SINCE[0] : "all";
}

await status.look();
connection.follow("", since());
post.commands();
