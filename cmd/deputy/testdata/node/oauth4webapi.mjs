import * as oauth from "oauth4webapi";

const insecure = { [oauth.allowInsecureRequests]: true }; // http at loopback
const issuer = new URL(input.issuer);

// Either document, and the one of the MCP server that leads to it.
const resource = new URL(input.mcp);
const described = await oauth.processResourceDiscoveryResponse(resource, await oauth.resourceDiscoveryRequest(resource, insecure));
expect(`the MCP server names ${described.authorization_servers}`, described.authorization_servers.join() === input.issuer);
const documents = [];
for (const algorithm of ["oidc", "oauth2"]) {
  documents.push(await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm, ...insecure })));
}
expect("the two documents differ", JSON.stringify(documents[0]) === JSON.stringify(documents[1]));
const [as] = documents;
expect("iss is not promised", as.authorization_response_iss_parameter_supported === true);

// As a program that registers itself.
const client = await oauth.processDynamicClientRegistrationResponse(await oauth.dynamicClientRegistrationRequest(as, {
  client_name: "Web API", redirect_uris: ["http://127.0.0.1/callback"], token_endpoint_auth_method: "none", application_type: "native",
}, insecure));
expect(`the client is ${client.client_id}`, client.client_id.startsWith("ua:") && client.client_secret === undefined);

const nonce = oauth.generateRandomNonce();
const state = oauth.generateRandomState();
const verifier = oauth.generateRandomCodeVerifier();
const parameters = {
  client_id: client.client_id, redirect_uri: callback, response_type: "code", scope: "openid profile mcp:tools",
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: "S256", state, nonce, resource: input.mcp,
};
const ask = async (more = {}) => visit(`${as.authorization_endpoint}?${new URLSearchParams({ ...parameters, ...more })}`);
const pushed = await oauth.processPushedAuthorizationResponse(as, client,
  await oauth.pushedAuthorizationRequest(as, client, oauth.None(), parameters, insecure));
const back = await visit(`${as.authorization_endpoint}?${new URLSearchParams({ client_id: client.client_id, request_uri: pushed.request_uri })}`);
const answer = oauth.validateAuthResponse(as, client, back, state);
const redeem = async (params = answer, by = verifier) => oauth.processAuthorizationCodeResponse(as, client,
  await oauth.authorizationCodeGrantRequest(as, client, oauth.None(), params, callback, by, insecure), { expectedNonce: nonce, requireIdToken: true });
const tokens = await redeem();
const who = oauth.getValidatedIdTokenClaims(tokens);
const person = await oauth.processUserInfoResponse(as, client, who.sub, await oauth.userInfoRequest(as, client, tokens.access_token, insecure));
expect(`userinfo says ${JSON.stringify(person)}`, person.sub === who.sub);

// The token is what RFC 9068 says, for the resource and no other.
const bearing = (token) => new Request(input.mcp, { headers: { Authorization: `Bearer ${token}` } });
const token = await oauth.validateJwtAccessToken(as, bearing(tokens.access_token), input.mcp, insecure);
expect(`the access token says ${JSON.stringify(token)}`, token.sub === who.sub && token.client_id === client.client_id);
await refused("for another resource", oauth.validateJwtAccessToken(as, bearing(tokens.access_token), input.resource, insecure));
await refused("an ID token as an access token", oauth.validateJwtAccessToken(as, bearing(tokens.id_token), client.client_id, insecure));

// The next tokens; and the same again, as when an answer was lost.
const refresh = async (of) => oauth.processRefreshTokenResponse(as, client,
  await oauth.refreshTokenGrantRequest(as, client, oauth.None(), of, { additionalParameters: { resource: input.mcp }, ...insecure }));
const next = await refresh(tokens.refresh_token);
const again = await refresh(tokens.refresh_token);
expect("a lost answer gives another successor", next.refresh_token === again.refresh_token && next.refresh_token !== tokens.refresh_token);

// A code is good once: the second use ends what the first began.
const twice = oauth.validateAuthResponse(as, client, await ask(), state);
const first = await redeem(twice);
expect(`a code used again is ${(await refused("a code used again", redeem(twice))).error}`, true);
const over = await refused("tokens of a code that was used again", refresh(first.refresh_token));
expect(`their refresh token is ${over.error}`, over.error === "invalid_grant");

// Refusals are errors of the library's own, with the issuer and the state.
for (const [code, more] of Object.entries({
  invalid_scope: { scope: 'a"b' }, unsupported_response_type: { response_type: "token" }, invalid_target: { resource: "urn:nothing" },
})) {
  const url = await ask(more);
  let e = {};
  try {
    oauth.validateAuthResponse(as, client, url, state);
  } catch (thrown) {
    e = thrown;
  }
  expect(`${code} is ${e.error}: ${e.message}`, e.error === code);
}
// An answer of another server is not taken for this one's.
const mixed = new URL(await ask());
mixed.searchParams.set("iss", "https://attacker.test");
await refused("the answer of another server", (async () => oauth.validateAuthResponse(as, client, mixed, state))());

await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, oauth.None(), next.refresh_token, insecure));
const gone = await refused("a revoked refresh token", refresh(next.refresh_token));
expect(`a revoked refresh token is ${gone.error}`, gone.error === "invalid_grant");
await leave();
