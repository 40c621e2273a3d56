// Somebody in headless Chromium logs in by an identity provider (provider.mjs), as older Matrix clients send them there.
// One JSON object on standard output says what came of each step.
// node sso.mjs HOMESERVER PROVIDER CHROMIUM FOLDER
import { createServer } from "node:http";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [, , homeserver, provider, executablePath, folder] = process.argv;
const told = {};
const V3 = `${homeserver}/_matrix/client/v3`;

// The client to which browsers come back.
let arrived;
const site = createServer((request, response) => {
    response.end("<!doctype html><title>back</title>");
    const token = new URL(request.url, "http://localhost").searchParams.get("loginToken");
    if (token) arrived(token);
});
await new Promise((ready) => site.listen(0, "127.0.0.1", ready));
const back = `http://localhost:${site.address().port}/`;

const call = async (method, path, body, token) => {
    const headers = { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) };
    const answer = await fetch(V3 + path, { method, headers, body: JSON.stringify(body) });
    return { status: answer.status, ...(await answer.json()) };
};

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
const someone = async () => (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();

// At the provider: who one is, and that this server may know it.
const atProvider = async (page, name) => {
    await page.getByPlaceholder("Enter any login").fill(name);
    await page.getByPlaceholder("and password").fill("x");
    await page.getByRole("button", { name: "Sign-in" }).click();
    await page.getByRole("button", { name: "Continue" }).click();
};
const begin = (page) => page.goto(`${V3}/login/sso/redirect/${provider}?redirectUrl=${encodeURIComponent(back)}`);
const goOn = async (page) => {
    const came = new Promise((done) => (arrived = done));
    await page.getByRole("heading", { name: "Continue to localhost?" }).waitFor();
    await page.getByRole("button", { name: "Continue" }).click();
    return call("POST", "/login", { type: "m.login.token", token: await came });
};

// Somebody new.
let page = await someone();
await begin(page);
await atProvider(page, "Zoë");
await page.getByRole("heading", { name: "Choose your name" }).waitFor();
told.suggested = await page.getByLabel("Name").inputValue();
await page.screenshot({ path: join(folder, "choose-name.png"), fullPage: true });
await page.getByRole("button", { name: "Make the account" }).click();
const zoe = await goOn(page);
told.new = zoe.user_id;
told.profile = (await call("GET", `/profile/${encodeURIComponent(zoe.user_id)}/displayname`)).displayname;

// The same person again, in another browser.
page = await someone();
await begin(page);
await atProvider(page, "Zoë");
told.again = (await goOn(page)).user_id;

// What asks for the password asks for the provider.
const asked = await call("POST", "/delete_devices", { devices: [zoe.device_id] }, zoe.access_token);
told.stages = asked.flows.map((flow) => flow.stages);
await page.goto(`${V3}/auth/m.login.sso/fallback/web?session=${asked.session}`);
told.early = (await call("POST", "/delete_devices", { devices: [zoe.device_id], auth: { session: asked.session } }, zoe.access_token)).status;
await page.getByRole("link", { name: "Log in with Prov" }).click();
await page.getByRole("heading", { name: "Thank you" }).waitFor();
told.deleted = (await call("POST", "/delete_devices", { devices: [zoe.device_id], auth: { session: asked.session } }, zoe.access_token)).status;

// Somebody whose name is an account here already: it becomes theirs by its password alone.
page = await someone();
await begin(page);
await atProvider(page, "kim");
await page.getByRole("button", { name: "Make the account" }).click();
told.taken = await page.getByRole("alert").textContent();
await page.getByRole("link", { name: "Link Prov" }).click();
await page.getByLabel("Name").fill("kim");
await page.getByLabel("Password").fill("correct horse");
await page.getByRole("button", { name: "Log in", exact: true }).click();
await page.getByRole("heading", { name: /^Link Prov to @kim:/ }).waitFor();
await page.screenshot({ path: join(folder, "link.png"), fullPage: true });
await page.getByRole("button", { name: "Link them" }).click();
await page.getByRole("heading", { name: "Your account" }).waitFor();
page = await someone();
await begin(page);
await atProvider(page, "kim");
told.linked = (await goOn(page)).user_id;

// Whoever does not agree is told.
page = await someone();
await begin(page);
await page.getByRole("link", { name: "[ Cancel ]" }).click();
told.cancelled = await page.getByRole("alert").textContent();

await browser.close();
site.close();
process.stdout.write(JSON.stringify(told) + "\n");
process.exit(0);
