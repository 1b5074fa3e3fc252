// Adds passkeys to the pages, which work without. The options come with the
// page and the answer leaves in its form: nothing is fetched.
(function () {
  "use strict";

  if (!window.PublicKeyCredential || !navigator.credentials) return;

  function bytes(text) {
    var raw = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
    return Uint8Array.from(raw, function (c) { return c.charCodeAt(0); });
  }

  function text(buffer) {
    var raw = String.fromCharCode.apply(null, new Uint8Array(buffer));
    return btoa(raw).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  }

  function decoded(list) {
    return (list || []).map(function (c) { return Object.assign({}, c, { id: bytes(c.id) }); });
  }

  function create(options) {
    options.challenge = bytes(options.challenge);
    options.user.id = bytes(options.user.id);
    options.excludeCredentials = decoded(options.excludeCredentials);
    return navigator.credentials.create({ publicKey: options }).then(function (c) {
      return {
        id: c.id, rawId: text(c.rawId), type: c.type, authenticatorAttachment: c.authenticatorAttachment || undefined,
        clientExtensionResults: {},
        response: {
          clientDataJSON: text(c.response.clientDataJSON), attestationObject: text(c.response.attestationObject),
          transports: c.response.getTransports ? c.response.getTransports() : []
        }
      };
    });
  }

  function get(options) {
    options.challenge = bytes(options.challenge);
    options.allowCredentials = decoded(options.allowCredentials);
    return navigator.credentials.get({ publicKey: options }).then(function (c) {
      return {
        id: c.id, rawId: text(c.rawId), type: c.type, clientExtensionResults: {},
        response: {
          clientDataJSON: text(c.response.clientDataJSON), authenticatorData: text(c.response.authenticatorData),
          signature: text(c.response.signature), userHandle: c.response.userHandle ? text(c.response.userHandle) : undefined
        }
      };
    });
  }

  document.querySelectorAll("form[data-passkey]").forEach(function (form) {
    var ask = form.dataset.passkey === "create" ? create : get;
    var failed = form.querySelector("[data-failed]");
    form.hidden = false;
    form.addEventListener("submit", function (event) {
      var field = form.elements.namedItem("credential");
      if (field.value) return; // the second time around: with the answer
      event.preventDefault();
      failed.hidden = true;
      ask(JSON.parse(form.dataset.options).publicKey).then(function (answer) {
        field.value = JSON.stringify(answer);
        form.submit();
      }).catch(function () { failed.hidden = false; });
    });
  });
  document.querySelectorAll("[data-unsupported]").forEach(function (note) { note.hidden = true; });
})();
