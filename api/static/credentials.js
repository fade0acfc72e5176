// Who posts: asked for when the node does, and kept in this tab's memory only.

const $ = (id) => document.getElementById(id);
let authorization = "";

$("sign-in-cancel").addEventListener("click", () => $("sign-in").close());

/** The header that goes with a post; empty until somebody was asked. */
export const headers = () => (authorization ? { authorization } : {});

/** Ask. Resolves to whether there is an answer. */
export function ask(why) {
  const dialog = $("sign-in");
  $("sign-in-why").textContent = why;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const given = dialog.returnValue === "ok";
        if (given) authorization = header($("sign-in-user").value, $("sign-in-secret").value);
        $("sign-in-secret").value = "";
        resolve(given);
      },
      { once: true },
    );
  });
}

/** Forget what was wrong. */
export function forget() {
  authorization = "";
}

/** Basic for both: a token is nobody's password. What is typed may be any text, and a bearer's may not. */
function header(user, secret) {
  const data = new TextEncoder().encode(`${user}:${secret}`);
  return `Basic ${btoa(String.fromCharCode(...data))}`;
}
