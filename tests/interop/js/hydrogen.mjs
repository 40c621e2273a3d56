// Hydrogen, a Matrix client for browsers, in headless Chromium behind one JSON object a line: commands on standard input,
// their answers on standard output. Everything is clicked, typed and read as a person would.
// node hydrogen.mjs SERVER CHROMIUM PROFILE
import { build } from "esbuild";
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const [, , server, executablePath, profile] = process.argv;
const here = fileURLToPath(new URL(".", import.meta.url));
const modules = join(here, "node_modules");
const tell = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const kinds = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
};

const made = await build({
    entryPoints: [join(here, "hydrogen_page.js")],
    bundle: true,
    format: "esm",
    write: false,
    external: ["fs", "path", "crypto"],
    logLevel: "error",
});
const page_js = made.outputFiles[0].contents;
const folders = {
    "/assets/": join(modules, "hydrogen-view-sdk", "asset-build", "assets"),
    "/olm/": join(modules, "@matrix-org", "olm"),
};

// The page and the files of the client, from this machine alone.
const file_of = (path) => {
    if (path === "/" || path === "/index.html") return join(here, "hydrogen.html");
    if (path === "/sw.js") return join(modules, "hydrogen-view-sdk", "lib-build", "sw.js");
    const folder = Object.keys(folders).find((start) => path.startsWith(start));
    return folder ? join(folders[folder], path.slice(folder.length)) : null;
};
const site = createServer(async (request, answer) => {
    const path = normalize(new URL(request.url, "http://localhost").pathname);
    try {
        const body = path === "/page.js" ? page_js : await readFile(file_of(path));
        answer.writeHead(200, { "content-type": kinds[extname(path)] ?? "text/html" }).end(body);
    } catch {
        answer.writeHead(404).end();
    }
});
await new Promise((ready) => site.listen(0, "127.0.0.1", ready));

const browser = await chromium.launchPersistentContext(profile, {
    executablePath,
    viewport: { width: 1200, height: 800 },
    args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ],
});
const page = browser.pages()[0] ?? (await browser.newPage());
page.setDefaultTimeout(30000);
page.on("pageerror", (error) => tell({ is: "complaint", text: String(error) }));
page.on("response", (answer) => {
    if (answer.status() >= 500) tell({ is: "complaint", text: `${answer.status()} ${answer.url()}` });
});
const address = (place) => `http://127.0.0.1:${site.address().port}/?server=${encodeURIComponent(server)}#${place}`;
const load = (place) => page.goto(address(place));

const commands = {
    log_in: async ({ account, password }) => {
        await load("/login");
        await page.fill("input[name=username], input#username", account);
        await page.fill("input[type=password]", password);
        await page.click("button[type=submit]");
        await page.locator(".LeftPanel").waitFor();
        return {};
    },
    rooms: async () => ({ rooms: await page.locator(".RoomList .name").allInnerTexts() }),
    open: async ({ room }) => {
        await page.locator(".RoomList li", { hasText: room }).first().click();
        return {};
    },
    accept: async () => {
        await page.getByRole("button", { name: "Accept" }).click();
        await page.locator(".MessageComposer_input textarea").waitFor();
        return {};
    },
    say: async ({ text }) => {
        await page.locator(".MessageComposer_input textarea").fill(text);
        await page.locator(".MessageComposer_input textarea").press("Enter");
        return {};
    },
    // What stands in the room that is open: (who, what), as far as the page shows names.
    shown: async () => ({ messages: await page.locator(".Timeline .Timeline_messageBody, .Timeline .Timeline_message").allInnerTexts() }),
    text: async () => ({ text: await page.locator("body").innerText() }),
    again: async () => {
        await page.reload();
        await page.locator(".LeftPanel").waitFor();
        return {};
    },
    screenshot: async ({ path }) => {
        await page.screenshot({ path });
        return {};
    },
};

tell({ is: "ready" });
for await (const line of createInterface({ input: process.stdin })) {
    const { do: name, to, ...more } = JSON.parse(line);
    try {
        tell({ is: "answer", to, ...(await commands[name](more)) });
    } catch (error) {
        tell({ is: "answer", to, error: `${name}: ${error}\n${(await page.locator("body").innerText()).slice(0, 500)}` });
    }
}
await browser.close();
site.close();
