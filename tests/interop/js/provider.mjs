// An identity provider (oidc-provider) over TLS on loopback, for tests of logging in by one. Its accounts are whatever
// name is typed; its log-in and consent pages are its own development pages.
// node provider.mjs PORT CERTIFICATE KEY CLIENT_ID CLIENT_SECRET REDIRECT_URI
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import { Provider } from "oidc-provider";

const [, , port, certificate, key, client_id, client_secret, redirect_uri] = process.argv;
const provider = new Provider(`https://127.0.0.1:${port}`, {
    clients: [{ client_id, client_secret, redirect_uris: [redirect_uri] }],
    claims: { openid: ["sub"], profile: ["name", "preferred_username"] },
    findAccount: (context, id) => ({
        accountId: id,
        claims: () => ({ sub: `subject-${id}`, name: `${id} of the provider`, preferred_username: id }),
    }),
    pkce: { required: () => true },
    cookies: { keys: ["a key for a test"] },
});
provider.on("server_error", (context, error) => process.stderr.write(`${error.stack}\n`));
const tls = { cert: readFileSync(certificate), key: readFileSync(key) };
createServer(tls, provider.callback()).listen(Number(port), "127.0.0.1", () => process.stdout.write("ready\n"));
