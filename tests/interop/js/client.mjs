// matrix-js-sdk behind one JSON object a line: commands on standard input, what happened on standard output.
// node client.mjs HOMESERVER NAME PASSWORD [sliding]
import { createInterface } from "node:readline";
import { createClient, ClientEvent, MatrixEventEvent, RoomEvent, RoomMemberEvent, RoomStateEvent } from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";
import { SlidingSync } from "matrix-js-sdk/lib/sliding-sync.js";

logger.disableAll();
// Parts of it write to the console all the same; standard output is ours.
for (const name of ["debug", "info", "log", "trace", "warn"]) console[name] = console.error;
const [, , baseUrl, name, password, way] = process.argv;
const tell = (what) => process.stdout.write(JSON.stringify(what) + "\n");

const guest = createClient({ baseUrl });
const auth = { type: "m.login.dummy" };
const account = await guest.registerRequest({ username: name, password, auth, initial_device_display_name: "js" });
const client = createClient({
    baseUrl,
    userId: account.user_id,
    accessToken: account.access_token,
    deviceId: account.device_id,
});

// What a person would have on the screen: the live timeline, told anew whenever it changes. An edit is seen on what it
// changes, a reaction below what it is about.
const reactionsTo = (room, event) => {
    const found = room.relations.getChildEventsForEvent(event.getId(), "m.annotation", "m.reaction");
    const byKey = found?.getSortedAnnotationsByKey() ?? [];
    return Object.fromEntries(byKey.map(([key, events]) => [key, [...events].map((one) => one.getSender())]));
};
const tellTimeline = (room) => {
    const events = room
        .getLiveTimeline()
        .getEvents()
        .filter((event) => event.getType() === "m.room.message" && !event.isRelation("m.replace"))
        .map((event) => ({
            id: event.getId(),
            sender: event.getSender(),
            body: event.getContent().body ?? "",
            edited: event.replacingEvent() !== null,
            highlights: client.getPushActionsForEvent(event)?.tweaks?.highlight ?? false,
            reactions: reactionsTo(room, event),
        }));
    tell({ is: "timeline", events });
};
client.on(RoomEvent.Timeline, (event, room) => room && tellTimeline(room));
client.on(RoomEvent.LocalEchoUpdated, (event, room) => tellTimeline(room));
client.on(MatrixEventEvent.Replaced, (event) => tellTimeline(client.getRoom(event.getRoomId())));
client.on(RoomStateEvent.Events, (event) => {
    if (event.getType() === "m.room.topic") tell({ is: "topic", topic: event.getContent().topic });
});
client.on(RoomMemberEvent.Membership, (event, member) => {
    tell({ is: "member", user: member.userId, membership: member.membership, room: member.roomId });
});
client.on(ClientEvent.Sync, (state) => {
    if (state === "PREPARED") tell({ is: "ready", user: account.user_id });
    if (state === "ERROR") tell({ is: "error", error: "sync failed" });
});
// Detached: what is being sent waits beside the timeline until the server has given it its place.
const options = { initialSyncLimit: 5, lazyLoadMembers: true, pendingEventOrdering: "detached" };
if (way === "sliding") {
    const wanted = { timeline_limit: 5, required_state: [["*", "*"]] };
    const lists = new Map([["rooms", { ranges: [[0, 99]], ...wanted }]]);
    options.slidingSync = new SlidingSync(baseUrl, lists, wanted, client, 20000);
}
await client.startClient(options);

const commands = {
    join: async ({ room }) => ({ room: (await client.joinRoom(room)).roomId }),
    say: async ({ room, text }) => ({ id: (await client.sendTextMessage(room, text)).event_id }),
    topic: async ({ room, topic }) => ({ id: (await client.setRoomTopic(room, topic)).event_id }),
    // A message of any content: a reply, an edit, a reaction.
    send: async ({ room, type, content }) => ({ id: (await client.sendEvent(room, type, content)).event_id }),
    // Page back until the room's beginning is there.
    back: async ({ room }) => {
        const here = client.getRoom(room);
        for (let page = 0; page < 100 && here.oldState.paginationToken !== null; page++) await client.scrollback(here, 7);
        tellTimeline(here);
        return { whole: here.oldState.paginationToken === null };
    },
    leave: async ({ room }) => {
        await client.leave(room);
        return {};
    },
    stop: async () => {
        client.stopClient();
        setTimeout(() => process.exit(0), 50);
        return {};
    },
};

for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    try {
        tell({ is: "answer", to: command.to, ...(await commands[command.do](command)) });
    } catch (error) {
        tell({ is: "answer", to: command.to, error: String(error) });
    }
}
process.exit(0);
