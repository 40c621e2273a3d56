// Hydrogen, a Matrix client for browsers, in headless Chromium behind one JSON object a line: commands on standard input,
// their answers on standard output. Everything is clicked, typed and read as a person would.
// node hydrogen.mjs SERVER CHROMIUM PROFILE
import { build } from "esbuild";
import { join } from "node:path";
import { here, modules, obey, open_browser, serve_site, tell_complaints } from "./browser.mjs";

const [, , server, executablePath, profile] = process.argv;

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
const site = await serve_site((path) => (path === "/page.js" ? page_js : file_of(path)));
const { browser, page } = await open_browser(executablePath, profile);
page.setDefaultTimeout(30000);
tell_complaints(page);
const address = (place) => `${site}/?server=${encodeURIComponent(server)}#${place}`;
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

await obey(commands, page);
await browser.close();
process.exit(0);
