// One life of a program that uses a tool of an MCP server: it knows what it
// saved in the life before, calls the tool, and signs the person in where it
// must.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";

const saved = input.saved ?? {};
const invalidated = [];
let going; // where the person is sent
let verifier;
const provider = {
  redirectUrl: callback,
  clientMetadataUrl: input.document,
  clientMetadata: {
    client_name: "MCP program", redirect_uris: ["http://127.0.0.1/callback"],
    grant_types: ["authorization_code", "refresh_token"], response_types: ["code"], token_endpoint_auth_method: "none",
  },
  state: () => "of-this-life",
  clientInformation: () => saved.client,
  saveClientInformation: (said) => { saved.client = said; },
  tokens: () => saved.tokens,
  saveTokens: (tokens) => { saved.tokens = tokens; },
  redirectToAuthorization: (url) => { going = url; },
  saveCodeVerifier: (text) => { verifier = text; },
  codeVerifier: () => verifier,
  invalidateCredentials: (scope) => {
    invalidated.push(scope);
    if (scope === "all" || scope === "client") delete saved.client;
    if (scope === "all" || scope === "tokens") delete saved.tokens;
  },
};

async function call() {
  const transport = new StreamableHTTPClientTransport(new URL(input.mcp), { authProvider: provider });
  const client = new Client({ name: "program", version: "1" });
  try {
    await client.connect(transport);
    return await client.callTool({ name: "read_note", arguments: { id: "1" } });
  } catch (e) {
    if (!(e instanceof UnauthorizedError) || !going) throw e;
    const back = await visit(going);
    going = undefined;
    expect(`the answer is ${back}`, back.searchParams.get("iss") === input.issuer && back.searchParams.get("state") === "of-this-life");
    await transport.finishAuth(back.searchParams.get("code"));
    return await call();
  } finally {
    await client.close();
  }
}

const result = await call();
expect(`the tool says ${JSON.stringify(result)}`, !result.isError && result.structuredContent?.answer?.note?.text === "Buy oat milk.");
await leave({ saved, typed, agreed, invalidated, caller: result.structuredContent?.answer?.caller });
