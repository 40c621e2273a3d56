// The Lounge, an IRC client in the browser with a small server of its own that stays connected, in headless Chromium.
// Everything is clicked, typed and read as a person would.
// node lounge.mjs FOLDER NAME PASSWORD CHROMIUM PROFILE
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { here, obey, open_browser, tell_complaints } from "./browser.mjs";

const [, , folder, name, password, executablePath, profile] = process.argv;
const modules = join(here, "..", "lounge", "node_modules");
// It asks for a newer Node than the other programs here.
const node = join(modules, `node-linux-${process.arch}`, "bin", "node");
const lounge = join(modules, "thelounge", "index.js");
const env = { ...process.env, THELOUNGE_HOME: folder };

const config = {
    public: false,
    host: "127.0.0.1",
    port: 0,
    prefetch: false,
    fileUpload: { enable: true, maxFileSize: 1024 },
    messageStorage: ["sqlite"],
    defaults: { name: "tripoint", host: "127.0.0.1", port: 6667, tls: false, rejectUnauthorized: false, join: "" },
};
await mkdir(join(folder, "users"), { recursive: true });
await writeFile(join(folder, "config.js"), `module.exports = ${JSON.stringify(config)};\n`);
await promisify(execFile)(node, [lounge, "add", name, "--password", password, "--save-logs"], { env });

let server = null;
let address = null;
const start = async () => {
    const loopback = join(modules, "..", "loopback.cjs");
    server = spawn(node, ["--require", loopback, lounge, "start"], { env, stdio: ["ignore", "pipe", "inherit"] });
    address = null;
    for await (const line of createInterface({ input: server.stdout })) {
        address = line.match(/Available at \S*?(http:\/\/127\.0\.0\.1:\d+\/)/)?.[1];
        if (address) break;
    }
    server.stdout.resume();
};
const stop = async () => {
    const ended = once(server, "exit");
    server.kill();
    await ended;
};
process.on("exit", () => server.kill());
await start();

const { browser, page } = await open_browser(executablePath, profile);
page.setDefaultTimeout(20000);
tell_complaints(page);

const input = page.locator("#input");
const say = async ({ text }) => {
    await input.fill(text);
    await input.press("Enter");
    return {};
};

const commands = {
    log_in: async () => {
        await page.goto(address);
        await page.fill("input[name=username]", name);
        await page.fill("input[type=password]", password);
        await page.keyboard.press("Enter");
        await page.locator("#connect, .channel-list-item[data-type=channel]").first().waitFor();
        return {};
    },
    // The form for a network: by TLS, as this account.
    connect: async ({ host, port }) => {
        await page.fill("[name=host]", host);
        await page.fill("[name=port]", String(port));
        await page.check("[name=tls]");
        await page.fill("[name=nick]", name);
        await page.check("[name=sasl][value=plain]");
        await page.fill("[name=saslAccount]", name);
        await page.fill("[name=saslPassword]", password);
        await page.click("button[type=submit]");
        await page.getByText("Enabled capabilities").waitFor();
        return {};
    },
    join: async ({ channel }) => {
        await say({ text: `/join ${channel}` });
        await page.locator(".userlist .user").first().waitFor();
        return {};
    },
    say,
    open: async () => {
        await page.locator(".channel-list-item[data-type=channel]").click();
        await page.locator(".userlist .user").first().waitFor();
        return {};
    },
    lobby: async () => {
        await page.locator(".channel-list-item[data-type=lobby]").click();
        return {};
    },
    // The paper clip: the link to the file stands in the line that is written, and is sent with it.
    upload: async ({ path }) => {
        await page.locator("input#upload-input").setInputFiles(path);
        await page.waitForFunction(() => document.querySelector("#input").value.includes("/uploads/"));
        const link = await input.inputValue();
        await input.press("Enter");
        return { link: link.trim() };
    },
    messages: async () => ({
        messages: await page.locator(".msg[data-type=message]").evaluateAll((all) =>
            all.map((one) => ({
                by: one.querySelector(".from").innerText.trim(),
                text: one.querySelector(".content").innerText.trim(),
                highlighted: one.classList.contains("highlight"),
            })),
        ),
    }),
    people: async () => ({ people: await page.locator(".userlist .user").allInnerTexts() }),
    // Its own server ends, and with it the connection to the network; by then it has noted that network, some seconds late.
    stop: async () => {
        const noted = async () => JSON.parse(await readFile(join(folder, "users", `${name}.json`), "utf8")).networks;
        while (!(await noted())?.length) await sleep(100);
        await page.goto("about:blank");
        await stop();
        return {};
    },
    start: async () => {
        await start();
        return {};
    },
    again: async () => {
        await page.reload();
        await input.waitFor();
        return {};
    },
    text: async () => ({ text: await page.locator("body").innerText() }),
    screenshot: async ({ path }) => {
        await page.screenshot({ path });
        return {};
    },
};

await obey(commands, page);
await browser.close();
process.exit(0);
