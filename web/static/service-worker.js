// Keeps the files of this version, which never change, and one page for when there is no network. The server puts
// VERSION and OFFLINE in front. Pages and answers of the API are never kept: they are somebody's, and they grow old.
"use strict";

const CACHE = `surplusflow-${VERSION}`;
const LANGUAGE = "/offline/language"; // no address of ours: under it the cache remembers what the reader reads

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches
      .open(CACHE)
      .then((cache) => cache.addAll(OFFLINE))
      .then(() => self.skipWaiting()),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name))))
      .then(() => self.registration.navigationPreload?.enable())
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (url.pathname.startsWith("/static/") && url.searchParams.has("v")) event.respondWith(file(request));
  else if (request.mode === "navigate") event.respondWith(page(event));
});

async function file(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request);
  if (kept) return kept;
  const answer = await fetch(request);
  // Under another digest than its own a file is served too, but it may change.
  if (answer.ok && answer.headers.get("cache-control")?.includes("immutable")) await cache.put(request, answer.clone());
  return answer;
}

async function page(event) {
  try {
    const answer = (await event.preloadResponse) ?? (await fetch(event.request));
    const language = answer.headers.get("content-language");
    if (language) event.waitUntil(remember(language));
    return answer;
  } catch {
    return offline();
  }
}

async function remember(language) {
  const cache = await caches.open(CACHE);
  await cache.put(LANGUAGE, new Response(language));
}

async function offline() {
  const cache = await caches.open(CACHE);
  const remembered = await cache.match(LANGUAGE);
  const language = (await remembered?.text()) ?? self.navigator.language;
  return cache.match(language.startsWith("zh") ? "/offline/zh-CN" : "/offline/en");
}
