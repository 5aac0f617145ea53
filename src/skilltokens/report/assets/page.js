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

  // A table that goes on beyond the right edge fades out there.
  for (const part of document.querySelectorAll(".scroll")) {
    const mark = () => part.classList.toggle("more", part.scrollLeft + part.clientWidth < part.scrollWidth - 2);
    part.addEventListener("scroll", mark, { passive: true });
    new ResizeObserver(mark).observe(part);
  }

  for (const table of document.querySelectorAll("figure .matrix")) {
    const line = table.closest("figure").querySelector(".counts");
    const point = (event) => {
      const cell = event.target.closest("[data-counts]");
      if (!cell) return;
      table.querySelector(".at")?.classList.remove("at");
      cell.classList.add("at");
      line.textContent = cell.dataset.counts + ".";
    };
    table.addEventListener("pointerover", point);
    table.addEventListener("click", point);
  }

  // An animated picture cannot be paused, so a still of its present frame takes its place.
  const toggles = document.querySelectorAll(".videos-toggle");
  let paused = false;
  const pause = (on) => {
    paused = on;
    for (const video of document.querySelectorAll(".videos img")) {
      video.parentElement.querySelector("canvas")?.remove();
      video.hidden = on;
      if (!on || !video.complete || !video.naturalWidth) { video.hidden = false; continue; }
      const still = document.createElement("canvas");
      still.width = video.naturalWidth;
      still.height = video.naturalHeight;
      still.setAttribute("role", "img");
      still.setAttribute("aria-label", video.alt);
      still.getContext("2d").drawImage(video, 0, 0);
      video.before(still);
    }
    for (const toggle of toggles) toggle.textContent = on ? "Play the videos" : "Pause the videos";
  };
  for (const toggle of toggles) {
    toggle.hidden = false;
    toggle.addEventListener("click", () => pause(!paused));
  }
  if (toggles.length && matchMedia("(prefers-reduced-motion: reduce)").matches) {
    for (const video of document.querySelectorAll(".videos img")) {
      video.loading = "eager";
      video.decode().catch(() => {}).then(() => pause(true));
    }
  }
})();
