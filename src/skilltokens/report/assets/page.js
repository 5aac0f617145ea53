(() => {
  const root = document.documentElement;
  const wants = matchMedia("(prefers-color-scheme: dark)");
  const key = "skilltokens-theme";
  try {
    const kept = localStorage.getItem(key);
    if (kept) root.dataset.theme = kept;
  } catch { /* a page from disk may have no storage: then the choice lasts as long as the page */ }
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : wants.matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem(key, root.dataset.theme); } catch { /* as above */ }
  });

  for (const table of document.querySelectorAll("figure .matrix")) {
    const said = table.closest("figure").querySelector(".said");
    const point = (event) => {
      const cell = event.target.closest("[data-said]");
      if (!cell) return;
      table.querySelector(".at")?.classList.remove("at");
      cell.classList.add("at");
      said.textContent = cell.dataset.said + ".";
    };
    table.addEventListener("pointerover", point);
    table.addEventListener("click", point);
  }

  // An animated picture cannot be paused, so a still of its present frame takes its place.
  const toggles = document.querySelectorAll(".films-toggle");
  let paused = false;
  const pause = (on) => {
    paused = on;
    for (const film of document.querySelectorAll(".films img")) {
      film.parentElement.querySelector("canvas")?.remove();
      film.hidden = on;
      if (!on || !film.complete || !film.naturalWidth) { film.hidden = false; continue; }
      const still = document.createElement("canvas");
      still.width = film.naturalWidth;
      still.height = film.naturalHeight;
      still.setAttribute("role", "img");
      still.setAttribute("aria-label", film.alt);
      still.getContext("2d").drawImage(film, 0, 0);
      film.before(still);
    }
    for (const toggle of toggles) toggle.textContent = on ? "Play the films" : "Pause the films";
  };
  for (const toggle of toggles) {
    toggle.hidden = false;
    toggle.addEventListener("click", () => pause(!paused));
  }
  if (toggles.length && matchMedia("(prefers-reduced-motion: reduce)").matches) {
    for (const film of document.querySelectorAll(".films img")) {
      film.loading = "eager";
      film.decode().catch(() => {}).then(() => pause(true));
    }
  }
})();
