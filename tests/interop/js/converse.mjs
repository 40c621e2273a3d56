// converse.js in headless Chromium behind one JSON object a line: commands on standard input, what happened on standard
// output. What is told is read from the page as a person would read it.
// node converse.mjs DOOR JID PASSWORD CHROMIUM PROFILE
import { join } from "node:path";
import { here, modules, obey, open_browser, serve_site, tell } from "./browser.mjs";

const [, , door, jid, password, executablePath, profile] = process.argv;
const dist = join(modules, "converse.js", "dist");

// The page and the files of the client, from this machine alone.
const site = await serve_site((path) => {
    if (path === "/") return join(here, "converse.html");
    return path.startsWith("/dist/") ? join(dist, path.slice(5)) : null;
});
const { browser, page } = await open_browser(executablePath, profile);
page.on("console", (line) => {
    if (["error", "warning"].includes(line.type())) tell({ is: "console", type: line.type(), text: line.text() });
});
page.on("pageerror", (error) => tell({ is: "console", type: "error", text: String(error.stack ?? error) }));
page.on("websocket", (socket) => {
    socket.on("framesent", ({ payload }) => tell({ is: "frame", by: "client", data: String(payload) }));
    socket.on("framereceived", ({ payload }) => tell({ is: "frame", by: "server", data: String(payload) }));
});

const address = () => {
    const asked = new URLSearchParams({ jid, password, door });
    return `${site}/?${asked}`;
};
const connected = () => page.waitForFunction(() => window.inside?.api.connection.connected(), null, { timeout: 20000 });

// The messages of a room as the page shows them, in order: who, what, whether corrected or highlighted, what is below.
const shown = (room) =>
    page.evaluate((room) => {
        const texts = (all) => [...all].map((one) => one.innerText.trim());
        const chat = [...document.querySelectorAll("converse-muc")].find((one) => one.getAttribute("jid") === room);
        return [...(chat?.querySelectorAll("converse-chat-message") ?? [])].map((one) => ({
            id: one.model?.get(`stanza_id ${room}`) ?? null,
            by: one.model?.getDisplayName?.() ?? "",
            text: (one.querySelector(".chat-msg__text") ?? one).innerText.trim(),
            edited: one.querySelector(".chat-msg__edit-modal") !== null,
            highlighted: one.querySelector(".chat-msg.mentioned") !== null,
            reactions: texts(one.querySelectorAll("converse-reactions button, .chat-msg__reaction")),
            links: [...one.querySelectorAll("a[href]")].map((link) => link.href),
            pictures: [...one.querySelectorAll("img.chat-image")].map((image) => image.src),
            is_info: one.querySelector(".chat-info") !== null,
        }));
    }, room);
const about = (room) =>
    page.evaluate((room) => {
        const muc = window.inside.state.chatboxes.get(room);
        const here = muc?.occupants.filter((one) => one.get("presence") !== "offline") ?? [];
        return {
            in_room: muc?.session.get("connection_status") === 5,
            topic: muc?.get("subject")?.text ?? "",
            people: here.map((one) => one.get("nick")),
            dialog: [...document.querySelectorAll(".modal.show")].map((one) => one.innerText).join("\n"),
        };
    }, room);

// Whatever changes on the page is told, in the order in which it is seen.
let watched = null;
let looking = Promise.resolve();
const look = () => {
    looking = looking.then(async () => {
        if (watched === null) return;
        tell({ is: "room", room: watched, ...(await about(watched)), messages: await shown(watched) });
    }).catch(() => {});  // the page is being loaded anew
    return looking;
};
await page.exposeFunction("tell_change", look);
const watch = () =>
    page.evaluate(() => {
        let soon = null;
        const change = () => (soon ??= setTimeout(() => ((soon = null), window.tell_change()), 100));
        const all = { childList: true, subtree: true, characterData: true, attributes: true };
        new MutationObserver(change).observe(document.body, all);
    });
const load = async () => {
    await page.goto(address());
    await connected();
    await watch();
};

const composer = (room) => page.locator(`converse-muc[jid="${room}"] textarea.chat-textarea`);
const type = async (room, text) => {
    await composer(room).fill(text);
    await composer(room).press("Enter");
    return {};
};

const commands = {
    open: async ({ room }) => {
        watched = room;
        await page.evaluate(async (room) => void (await window.inside.api.rooms.open(room, {}, true)), room);
        await page.waitForFunction(
            (room) => window.inside.state.chatboxes.get(room)?.session.get("connection_status") === 5,
            room,
            { timeout: 20000 },
        );
        await composer(room).waitFor();
        await look();
        return {};
    },
    say: ({ room, text }) => type(room, text),
    // Arrow-up in an empty line takes up one's last message.
    correct: async ({ room, text }) => {
        await composer(room).press("ArrowUp");
        return type(room, text);
    },
    // What the paper clip's dialogue does with the file that was chosen.
    upload: async ({ room, path }) => {
        await page.locator(`converse-muc[jid="${room}"] input.fileupload`).setInputFiles(path);
        return {};
    },
    // From the menu of a message, and the palette that opens.
    react: async ({ room, text, emoji }) => {
        const about = page
            .locator(`converse-muc[jid="${room}"] converse-chat-message`)
            .filter({ hasText: new RegExp(`${text}(?![0-9])`) });
        await about.hover();
        await about.locator("converse-message-actions .dropdown-toggle").first().click();
        await about.locator(".chat-msg__action-reaction").click();
        await about.locator("converse-reaction-picker").getByText(emoji, { exact: true }).first().click();
        return {};
    },
    evaluate: async ({ code }) => ({ value: await page.evaluate(code) }),
    html: async ({ selector }) => ({ html: await page.locator(selector).evaluateAll((all) => all.map((one) => one.outerHTML)) }),
    click: async ({ selector, text }) => {
        const found = page.locator(selector);
        await (text ? found.filter({ hasText: text }) : found).first().click({ timeout: 10000 });
        return {};
    },
    hover: async ({ selector, text }) => {
        const found = page.locator(selector);
        await (text ? found.filter({ hasText: text }) : found).first().hover({ timeout: 10000 });
        return {};
    },
    leave: async ({ room }) => {
        await page.evaluate(async (room) => void (await window.inside.state.chatboxes.get(room).close()), room);
        await look();
        return {};
    },
    // The page is closed and opened again, as one does with a browser.
    away: async () => {
        await page.goto("about:blank");
        return {};
    },
    back: async () => {
        await load();
        await look();
        return {};
    },
    offline: async ({ off }) => {
        await browser.setOffline(off);
        return {};
    },
    screenshot: async ({ path }) => {
        await page.screenshot({ path });
        return {};
    },
};

await load();
await obey(commands, page);
await browser.close();
process.exit(0);
