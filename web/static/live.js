// Tells the reader when the page's event stream is gone, and keeps an old price from being traded on.
(() => {
  "use strict";
  const SILENCE_MS = 25_000; // the server sends something at least every 15 seconds
  const AGAIN_MS = 3_000;
  let timer = 0;
  let again = 0;

  function mark(stale) {
    document.body.classList.toggle("stale", stale);
    for (const button of document.querySelectorAll("[data-needs-live]")) button.disabled = stale;
  }

  function heard() {
    clearTimeout(timer);
    timer = setTimeout(() => mark(true), SILENCE_MS);
    mark(false);
  }

  // The stream mends itself once it has been open; what never opened, or was closed for good, is asked for again.
  function lost() {
    mark(true);
    clearTimeout(again);
    again = setTimeout(() => {
      const live = document.getElementById("live");
      if (live && !live._htmx?.sse) htmx.trigger(live, "again");
    }, AGAIN_MS);
  }

  if (document.getElementById("live")) timer = setTimeout(() => mark(true), SILENCE_MS);
  document.addEventListener("htmx:sse:after:connection", heard);
  document.addEventListener("htmx:sse:after:message", heard);
  document.addEventListener("htmx:sse:error", lost);
  document.addEventListener("htmx:sse:close", lost);
  for (const failure of ["htmx:error", "htmx:response:error"]) {
    document.addEventListener(failure, (event) => {
      if (event.target.id === "live") lost();
    });
  }
  window.addEventListener("offline", () => mark(true));
  // A part that was swapped in while the stream is gone brings an enabled button.
  document.addEventListener("htmx:after:swap", () => {
    if (document.body.classList.contains("stale")) mark(true);
  });

  // After a refused form, the reader stands at the first field that is wrong.
  document.addEventListener("htmx:after:swap", (event) => {
    const form = event.target.closest?.("form") ?? event.target;
    form.querySelector?.('[aria-invalid="true"]')?.focus();
  });

  // Taps on a price of the book fill the ticket; without script the link loads the page with price and side.
  document.addEventListener("click", (event) => {
    const level = event.target.closest("a.level");
    const price = document.getElementById("ticket-price");
    if (!level || !price || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const side = document.getElementById(`ticket-side-${level.dataset.side}`);
    if (side) side.checked = true;
    price.value = level.dataset.price;
    price.dispatchEvent(new Event("input", { bubbles: true }));
    price.focus();
  });

  // Times that run out are counted down; what is more than a day away stays as the server wrote it.
  const DAY_SECONDS = 86_400;
  const two = (number) => String(number).padStart(2, "0");

  function count() {
    for (const time of document.querySelectorAll("time[data-until]")) {
      const left = Math.max(0, Math.round((Date.parse(time.dataset.until) - Date.now()) / 1000));
      if (left >= DAY_SECONDS) continue;
      const [hours, minutes, seconds] = [Math.floor(left / 3600), Math.floor((left % 3600) / 60), left % 60];
      time.textContent = hours ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
    }
  }

  document.addEventListener("htmx:after:swap", count);
  setInterval(count, 1000);
  count();
})();
