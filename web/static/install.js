// Makes the pages installable, and readable as far as they can be without a network.
"use strict";
navigator.serviceWorker?.register("/service-worker.js");
