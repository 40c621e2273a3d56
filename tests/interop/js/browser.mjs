// What the clients that run in a browser have in common: a site on this machine with their page and files, headless
// Chromium, and commands of one JSON object a line on standard input with their answers on standard output.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const here = fileURLToPath(new URL(".", import.meta.url));
export const modules = join(here, "node_modules");
export const tell = (what) => process.stdout.write(JSON.stringify(what) + "\n");

const kinds = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
};

// A site on a free port of 127.0.0.1; resolves to its address. `find` gives for a path a file's name, its bytes, or null.
export const serve_site = async (find) => {
    const site = createServer(async (request, answer) => {
        const path = normalize(new URL(request.url, "http://localhost").pathname);
        try {
            const found = await find(path);
            const body = typeof found === "string" ? await readFile(found) : found;
            const kind = kinds[extname(typeof found === "string" ? found : path)];
            answer.writeHead(200, { "content-type": kind ?? "application/octet-stream" }).end(body);
        } catch {
            answer.writeHead(404).end();
        }
    });
    await new Promise((ready) => site.listen(0, "127.0.0.1", ready));
    return `http://127.0.0.1:${site.address().port}`;
};

// Chromium with its first page. It speaks to nobody but the page's own servers.
export const open_browser = async (executablePath, profile) => {
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
    return { browser, page };
};

// What goes wrong on the page, as complaints.
export const tell_complaints = (page) => {
    page.on("pageerror", (error) => tell({ is: "complaint", text: String(error) }));
    page.on("response", (answer) => {
        if (answer.status() >= 500) tell({ is: "complaint", text: `${answer.status()} ${answer.url()}` });
    });
};

// Does what it is told until standard input ends. A command that fails is answered with what the page shows.
export const obey = async (commands, page) => {
    tell({ is: "ready" });
    for await (const line of createInterface({ input: process.stdin })) {
        const { do: name, to, ...more } = JSON.parse(line);
        try {
            tell({ is: "answer", to, ...(await commands[name](more)) });
        } catch (error) {
            const shown = await page.locator("body").innerText().catch(() => "");
            tell({ is: "answer", to, error: `${name}: ${error}\n${shown.slice(0, 500)}` });
        }
    }
};
