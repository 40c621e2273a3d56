// Loaded before The Lounge, which asks for news of itself when it starts: names of other machines are not found.
const dns = require("node:dns");

const { lookup } = dns;
dns.lookup = (host, options, done) => {
    const answer = done ?? options;
    if (["localhost", "127.0.0.1"].includes(host)) return lookup(host, options, done);
    return process.nextTick(answer, Object.assign(new Error(`${host} is elsewhere`), { code: "ENOTFOUND" }));
};
