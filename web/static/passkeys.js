// Passkeys: asks the server what to ask the device, asks the device, and sends its answer as the form that it stands in.
(() => {
  "use strict";
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (each) => each.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const named = (list) => (list ?? []).map((each) => ({ ...each, id: bytes(each.id) }));

  async function created(options) {
    const publicKey = {
      ...options,
      challenge: bytes(options.challenge),
      user: { ...options.user, id: bytes(options.user.id) },
      excludeCredentials: named(options.excludeCredentials),
    };
    const made = await navigator.credentials.create({ publicKey });
    const response = {
      clientDataJSON: text(made.response.clientDataJSON),
      attestationObject: text(made.response.attestationObject),
    };
    return { id: made.id, rawId: text(made.rawId), type: made.type, response };
  }

  async function used(options) {
    const publicKey = {
      ...options,
      challenge: bytes(options.challenge),
      allowCredentials: named(options.allowCredentials),
    };
    const found = await navigator.credentials.get({ publicKey });
    const { clientDataJSON, authenticatorData, signature, userHandle } = found.response;
    const response = {
      clientDataJSON: text(clientDataJSON),
      authenticatorData: text(authenticatorData),
      signature: text(signature),
      userHandle: userHandle && text(userHandle),
    };
    return { id: found.id, rawId: text(found.rawId), type: found.type, response };
  }

  async function send(form) {
    const failed = form.querySelector("[data-passkey-failed]");
    const button = form.querySelector("button");
    failed.hidden = true;
    button.disabled = true;
    try {
      const asked = await fetch(form.dataset.options, {
        method: "POST",
        headers: { "x-csrftoken": form.elements._csrf_token.value, accept: "application/json" },
      });
      if (!asked.ok) throw new Error(String(asked.status));
      const ask = form.dataset.passkey === "create" ? created : used;
      form.elements.credential.value = JSON.stringify(await ask(await asked.json()));
      form.submit();
    } catch {
      failed.hidden = false;
      button.disabled = false;
      button.focus();
    }
  }

  // Without script, or on a browser without passkeys, these forms stay hidden: a code does the same.
  function show() {
    for (const form of document.querySelectorAll("form[data-passkey]")) form.hidden = !window.PublicKeyCredential;
  }

  show();
  document.addEventListener("htmx:after:swap", show);
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-passkey]")) return;
    event.preventDefault();
    send(event.target);
  });
})();
