import * as client from "openid-client";

const insecure = { execute: [client.allowInsecureRequests] }; // http at loopback
const issuer = new URL(input.issuer);

// A client with a secret pushes its request, and learns who has signed in.
const web = await client.discovery(issuer, input.client_id, { client_secret: input.client_secret }, client.ClientSecretBasic(input.client_secret), insecure);
const pkceCodeVerifier = client.randomPKCECodeVerifier();
const expectedState = client.randomState();
const expectedNonce = client.randomNonce();
const asked = {
  redirect_uri: callback,
  scope: "openid email",
  code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
  code_challenge_method: "S256",
  state: expectedState,
  nonce: expectedNonce,
  max_age: "300",
};
const pushed = await client.buildAuthorizationUrlWithPAR(web, asked);
expect("a pushed request says what it asks", [...pushed.searchParams.keys()].sort().join() === "client_id,request_uri");
let back = await visit(pushed);
const tokens = await client.authorizationCodeGrant(web, back, { pkceCodeVerifier, expectedState, expectedNonce, maxAge: 300, idTokenExpected: true });
const claims = tokens.claims();
expect(`the ID token says ${JSON.stringify(claims)}`, claims.email === input.email && claims.email_verified === true && claims.sid);
const person = await client.fetchUserInfo(web, tokens.access_token, claims.sub);
expect(`userinfo says ${JSON.stringify(person)}`, person.email === input.email);
const known = await client.tokenIntrospection(web, tokens.access_token);
expect(`introspection says ${JSON.stringify(known)}`, known.active && known.sub === claims.sub);
const next = await client.refreshTokenGrant(web, tokens.refresh_token);
expect("the refresh token stays the same", next.refresh_token && next.refresh_token !== tokens.refresh_token);
expect("the ID token of a refresh is somebody else's", next.claims().sub === claims.sub && next.claims().auth_time === claims.auth_time);
await client.tokenRevocation(web, next.refresh_token, { token_type_hint: "refresh_token" });
const over = await refused("a revoked refresh token", client.refreshTokenGrant(web, next.refresh_token));
expect(`a revoked refresh token is ${over.error}`, over.error === "invalid_grant");
expect("a session that has ended is active", (await client.tokenIntrospection(web, next.access_token)).active === false);

// A code is the browser's that it was given to: not with another state, and not
// without the verifier.
const ask = async (more) => visit(client.buildAuthorizationUrl(web, { ...asked, ...more }));
await refused("another state", client.authorizationCodeGrant(web, await ask({}), { pkceCodeVerifier, expectedState: "other", expectedNonce, maxAge: 300 }));
const stolen = await refused("another verifier", client.authorizationCodeGrant(web, await ask({}), {
  pkceCodeVerifier: client.randomPKCECodeVerifier(), expectedState, expectedNonce, maxAge: 300,
}));
expect(`another verifier is ${stolen.error}`, stolen.error === "invalid_grant");

// What the person denies, and what cannot be had without them, is said as the
// library expects it, with the issuer.
const told = async (code, more, answer) => {
  const url = await visit(client.buildAuthorizationUrl(web, { ...asked, ...more }), answer);
  const e = await refused(code, client.authorizationCodeGrant(web, url, { pkceCodeVerifier, expectedState, expectedNonce, maxAge: 300 }));
  expect(`${code}: ${e.error} ${e.message}`, e.error === code && url.searchParams.get("iss") === input.issuer);
};
await told("access_denied", { prompt: "consent" }, "deny");
await told("invalid_target", { resource: "urn:nothing" });
await told("invalid_request", { code_challenge_method: "plain" });
await told("consent_required", { prompt: "none", scope: "notes:read", resource: input.resource });

// Whoever signs out with the ID token is not asked, and comes back.
const bye = await visit(client.buildEndSessionUrl(web, {
  post_logout_redirect_uri: input.bye, id_token_hint: next.id_token, state: "gone",
}));
expect(`after signing out the person is at ${bye}`, bye.href === `${input.bye}?state=gone`);
await told("login_required", { prompt: "none" });

// A program that nobody registered registers itself, at a port that it does not
// know before.
const cli = await client.dynamicClientRegistration(issuer, {
  client_name: "A program", redirect_uris: ["http://127.0.0.1/callback"], token_endpoint_auth_method: "none",
}, client.None(), insecure);
back = await visit(client.buildAuthorizationUrl(cli, { ...asked, scope: "openid notes:read", resource: input.resource }));
const own = await client.authorizationCodeGrant(cli, back, { pkceCodeVerifier, expectedState, expectedNonce, maxAge: 300 });
expect(`the scope is ${own.scope}`, own.scope === "openid notes:read");
const renewed = await client.refreshTokenGrant(cli, own.refresh_token, { resource: input.resource });
expect("the session is another one", renewed.claims().sub === claims.sub);

expect(`the password was typed ${typed} times`, typed === 2);
await leave();
