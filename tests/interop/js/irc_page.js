// A page with irc-framework, the IRC library of Kiwi IRC and The Lounge, over WebSocket: as little around it as shows
// what it hears. What is asked of the server beyond the library's own verbs is said in the protocol's words.
import { Buffer } from "buffer/";
import IRC from "irc-framework";
import Connection from "irc-framework/dist/browser/src/transports/websocket";

window.Buffer = Buffer;
const log = document.querySelector("#log");
const show = (kind, { nick, target, channel, message, tags, batch }) => {
    const line = document.createElement("li");
    line.dataset.kind = kind;
    Object.assign(line.dataset, { by: nick ?? "", where: target ?? channel ?? "", batch: batch?.type ?? "" });
    line.dataset.id = tags?.msgid ?? "";
    line.textContent = message ?? "";
    log.append(line);
};

const client = new IRC.Client();
window.irc = client;
for (const kind of ["message", "join", "part", "quit", "topic", "kick", "irc error", "loggedin", "registered", "sasl failed"]) {
    client.on(kind, (event) => show(kind, event));
}
client.requestCap(["draft/chathistory"]);
window.connect = ({ host, port, path, nick, account, protocol }) =>
    client.connect({
        host,
        port,
        path,
        nick,
        username: nick,
        gecos: nick,
        account: {}, // the library knows SASL PLAIN alone, which is for TLS
        password: account && `${account.name}:${account.password}`,
        transport: Connection,
        websocket_protocol: protocol,
        enable_echomessage: true,
        auto_reconnect: false,
    });
