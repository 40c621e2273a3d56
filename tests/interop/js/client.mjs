// matrix-js-sdk behind one JSON object a line: commands on standard input, what happened on standard output.
// node client.mjs HOMESERVER NAME PASSWORD
import { createInterface } from "node:readline";
import { createClient, ClientEvent, RoomEvent, RoomMemberEvent, RoomStateEvent } from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";

logger.disableAll();
const [, , baseUrl, name, password] = process.argv;
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

// What a person would have on the screen: the live timeline, told anew whenever it changes.
const tellTimeline = (room) => {
    const events = room
        .getLiveTimeline()
        .getEvents()
        .filter((event) => event.getType() === "m.room.message")
        .map((event) => ({ id: event.getId(), sender: event.getSender(), body: event.getContent().body ?? "" }));
    tell({ is: "timeline", events });
};
client.on(RoomEvent.Timeline, (event, room) => room && tellTimeline(room));
client.on(RoomEvent.LocalEchoUpdated, (event, room) => tellTimeline(room));
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
await client.startClient({ initialSyncLimit: 5, lazyLoadMembers: true, pendingEventOrdering: "detached" });

const commands = {
    join: async ({ room }) => ({ room: (await client.joinRoom(room)).roomId }),
    say: async ({ room, text }) => ({ id: (await client.sendTextMessage(room, text)).event_id }),
    topic: async ({ room, topic }) => ({ id: (await client.setRoomTopic(room, topic)).event_id }),
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
