// The theme: as the system has it, or as chosen here. A classic script in the head, so that the first
// picture is right already.
"use strict";
(() => {
  const KEY = "dayfly.theme";
  const THEMES = ["auto", "light", "dark"];
  let theme = "auto";
  try {
    theme = THEMES.find((name) => name === localStorage.getItem(KEY)) ?? "auto";
  } catch { /* a browser that keeps nothing */ }

  const apply = () => {
    document.documentElement.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${theme}`;
  };
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      apply();
      try {
        localStorage.setItem(KEY, theme);
      } catch { /* then it holds for this page */ }
    });
  });
})();
