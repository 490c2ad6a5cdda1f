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

  // Taps on a price of the book fill the ticket; without script the link loads the page with that price.
  document.addEventListener("click", (event) => {
    const level = event.target.closest("a.level");
    const price = document.getElementById("ticket-price");
    if (!level || !price || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    price.value = level.dataset.price;
    price.dispatchEvent(new Event("input", { bubbles: true }));
    price.focus();
  });
})();
