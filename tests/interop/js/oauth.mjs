// matrix-js-sdk logs in by OAuth 2.0, and somebody in headless Chromium lets it in. One JSON object on standard output
// says what came of each step.
// node oauth.mjs HOMESERVER ACCOUNT PASSWORD CHROMIUM FOLDER
import { createServer } from "node:http";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [, , homeserver, account, password, executablePath, folder] = process.argv;
const told = {};

// What the library takes from a browser.
const stored = new Map();
const sessionStorage = {
    get length() {
        return stored.size;
    },
    key: (number) => [...stored.keys()][number] ?? null,
    getItem: (key) => stored.get(key) ?? null,
    setItem: (key, value) => stored.set(key, String(value)),
    removeItem: (key) => stored.delete(key),
};
globalThis.window = { sessionStorage, location: { origin: "http://localhost", href: "http://localhost/" } };
Object.assign(globalThis, { sessionStorage, localStorage: sessionStorage });
const sdk = await import("matrix-js-sdk");
const { logger } = await import("matrix-js-sdk/lib/logger.js");
logger.setLevel("error");

// Where the client waits for its answer.
let arrived;
const answer = new Promise((done) => (arrived = done));
const site = createServer((request, response) => {
    const url = new URL(request.url, "http://localhost");
    response.end("<!doctype html><title>back</title>");
    if (url.pathname === "/callback") arrived(url.searchParams);
});
await new Promise((ready) => site.listen(0, "127.0.0.1", ready));
const redirectUri = `http://localhost:${site.address().port}/callback`;

const stranger = sdk.createClient({ baseUrl: homeserver });
const metadata = await stranger.getAuthMetadata();
told.issuer = metadata.issuer;
told.keys = metadata.signingKeys.length;
const clientId = await sdk.registerOidcClient(metadata, {
    clientName: "Interop",
    clientUri: "https://interop.example/",
    applicationType: "native",
    redirectUris: ["http://localhost/callback"],
});
const url = await sdk.generateOidcAuthorizationUrl({
    metadata,
    clientId,
    redirectUri,
    homeserverUrl: homeserver,
    nonce: "a nonce",
    prompt: "create",
});

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
const complaints = [];
const page = await browser.newPage({ viewport: { width: 360, height: 740 } });
page.on("console", (line) => line.type() === "error" && complaints.push(line.text()));
page.on("pageerror", (error) => complaints.push(String(error)));
await page.goto(url);
await page.screenshot({ path: join(folder, "make-account.png"), fullPage: true });
await page.getByLabel("Name").fill(account);
await page.getByLabel("New password").fill(password);
await page.getByLabel("The same password again").fill(password);
await page.getByRole("button", { name: "Make the account" }).click();
await page.getByRole("heading", { name: "Let Interop in?" }).waitFor();
await page.screenshot({ path: join(folder, "consent.png"), fullPage: true });
// Nothing is wider than a telephone.
told.wide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
await page.getByRole("button", { name: "Let it in" }).click();
const given = await answer;
told.iss = given.get("iss");

const { tokenResponse, idTokenClaims } = await sdk.completeAuthorizationCodeGrant(given.get("code"), given.get("state"));
told.scope = tokenResponse.scope;
told.subject = idTokenClaims.sub;
const deviceId = tokenResponse.scope.match(/device:(\S+)/)[1];

const refresher = new sdk.OidcTokenRefresher(metadata.issuer, clientId, redirectUri, deviceId, idTokenClaims);
await refresher.oidcClientReady;
const client = sdk.createClient({
    baseUrl: homeserver,
    accessToken: tokenResponse.access_token,
    refreshToken: tokenResponse.refresh_token,
    tokenRefreshFunction: (token) => refresher.doRefreshAccessToken(token),
    deviceId,
    userId: idTokenClaims.sub,
});
told.whoami = await client.whoami();
told.device = deviceId;
const before = client.getAccessToken();
const fresh = await refresher.doRefreshAccessToken(tokenResponse.refresh_token);
client.setAccessToken(fresh.accessToken);
told.refreshed = fresh.accessToken !== before && fresh.expiry > new Date();
await client.startClient({ initialSyncLimit: 1 });
await new Promise((done) => client.on("sync", (state) => state === "PREPARED" && done()));
told.synced = true;
client.stopClient();

// The account page, in a wide window, knows the session.
await page.setViewportSize({ width: 1280, height: 800 });
await page.goto(`${metadata.account_management_uri}?action=org.matrix.devices_list`);
told.listed = await page.getByText("Interop").count();
await page.screenshot({ path: join(folder, "sessions.png"), fullPage: true });

// Log out as Element does.
const revoked = await fetch(metadata.revocation_endpoint, {
    method: "POST",
    body: new URLSearchParams({ token: fresh.refreshToken, token_type_hint: "refresh_token", client_id: clientId }),
});
told.revoked = revoked.status;
try {
    await client.whoami();
} catch (error) {
    told.after = error.errcode;
}
await page.reload();
told.left = await page.getByText("Interop").count();
told.complaints = complaints;

await browser.close();
site.close();
process.stdout.write(JSON.stringify(told) + "\n");
process.exit(0);
