// irc-framework on a page in headless Chromium, over WebSocket.
// node irc.mjs HOST PORT CHROMIUM PROFILE
import { build } from "esbuild";
import { join } from "node:path";
import { here, obey, open_browser, serve_site, tell_complaints } from "./browser.mjs";

const [, , host, port, executablePath, profile] = process.argv;

const made = await build({
    entryPoints: [join(here, "irc_page.js")],
    bundle: true,
    format: "esm",
    platform: "browser",
    alias: { stream: "stream-browserify" },
    define: { global: "window" },
    // What webpack would give it of Node.
    banner: { js: "const process = { env: {}, nextTick: (work, ...of) => queueMicrotask(() => work(...of)) };" },
    write: false,
    logLevel: "error",
});
const page_js = made.outputFiles[0].contents;
const site = await serve_site((path) => (path === "/page.js" ? page_js : path === "/" ? join(here, "irc.html") : null));
const { browser, page } = await open_browser(executablePath, profile);
page.setDefaultTimeout(20000);
tell_complaints(page);

const commands = {
    connect: async ({ nick, account, protocol }) => {
        await page.goto(site);
        const path = "/irc-websocket";
        await page.evaluate((how) => window.connect(how), { host, port, path, nick, account, protocol });
        await page.locator("li[data-kind=registered]").waitFor();
        return { caps: await page.evaluate(() => window.irc.network.cap.enabled) };
    },
    join: async ({ channel }) => {
        await page.evaluate((channel) => window.irc.join(channel), channel);
        await page.locator(`li[data-kind=join][data-where="${channel}"]`).first().waitFor();
        return {};
    },
    say: async ({ channel, text }) => {
        await page.evaluate(([channel, text]) => window.irc.say(channel, text), [channel, text]);
        return {};
    },
    raw: async ({ words }) => {
        await page.evaluate((words) => window.irc.raw(words), words);
        return {};
    },
    isupport: async ({ name }) => ({ value: await page.evaluate((name) => window.irc.network.options[name], name) }),
    token: async () => ({
        token: await page.evaluate(
            () =>
                new Promise((done) => {
                    window.irc.on("unknown command", ({ command, params }) => command === "FILEHOST" && done(params[1]));
                    window.irc.raw("FILEHOST", "TOKEN");
                }),
        ),
    }),
    // As a page does it that has a file to give away: the place of it comes back in Location.
    upload: async ({ url, name, text, authorization }) =>
        page.evaluate(
            async ([url, name, text, authorization]) => {
                const headers = {
                    "content-type": "text/plain",
                    "content-disposition": `attachment; filename="${name}"`,
                    ...(authorization ? { authorization } : {}),
                };
                const answer = await fetch(url, { method: "POST", body: text, headers });
                const location = answer.headers.get("location");
                return { status: answer.status, location: location && new URL(location, url).href };
            },
            [url, name, text, authorization],
        ),
    lines: async () => ({
        lines: await page.locator("li").evaluateAll((all) => all.map((one) => ({ ...one.dataset, text: one.textContent }))),
    }),
    text: async () => ({ text: await page.locator("body").innerText() }),
    close: async () => {
        await page.goto("about:blank");
        return {};
    },
};

await obey(commands, page);
await browser.close();
process.exit(0);
