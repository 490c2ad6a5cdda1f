// Tells the reader when the page's event stream is gone, and keeps an old price from being traded on.
(() => {
  "use strict";
  const SILENCE_MS = 25_000; // the server sends something at least every 15 seconds
  let timer = 0;

  function mark(stale) {
    document.body.classList.toggle("stale", stale);
    for (const button of document.querySelectorAll("[data-needs-live]")) button.disabled = stale;
  }

  function heard() {
    clearTimeout(timer);
    timer = setTimeout(() => mark(true), SILENCE_MS);
    mark(false);
  }

  document.addEventListener("htmx:sse:after:connection", heard);
  document.addEventListener("htmx:sse:after:message", heard);
  document.addEventListener("htmx:sse:error", () => mark(true));
  document.addEventListener("htmx:sse:close", () => mark(true));
  document.addEventListener("htmx:error", (event) => {
    if (event.target.id === "live") mark(true);
  });
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
