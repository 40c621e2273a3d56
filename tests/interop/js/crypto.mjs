// matrix-js-sdk with its encryption (matrix-sdk-crypto in WebAssembly) behind one JSON object a line.
// node crypto.mjs HOMESERVER NAME PASSWORD register|login DEVICE
import { createInterface } from "node:readline";
import { createClient, ClientEvent, MatrixEventEvent, RoomEvent } from "matrix-js-sdk";
import { CryptoEvent, VerifierEvent, VerificationPhase, VerificationRequestEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { Attachment, EncryptedAttachment } from "@matrix-org/matrix-sdk-crypto-wasm";
import { logger } from "matrix-js-sdk/lib/logger.js";

logger.disableAll();
for (const say of ["log", "info", "warn", "debug", "error", "trace"]) console[say] = () => {};
const [, , baseUrl, name, password, how, wanted] = process.argv;
const tell = (what) => process.stdout.write(JSON.stringify(what) + "\n");

const guest = createClient({ baseUrl });
const account =
    how === "register"
        ? await guest.registerRequest({ username: name, password, auth: { type: "m.login.dummy" }, device_id: wanted })
        : await guest.loginRequest({
              type: "m.login.password",
              identifier: { type: "m.id.user", user: name },
              password,
              device_id: wanted,
          });
// The recovery key: made by bootstrap, given by recover.
let recoveryKey = null;
const client = createClient({
    baseUrl,
    userId: account.user_id,
    accessToken: account.access_token,
    deviceId: account.device_id,
    verificationMethods: ["m.sas.v1", "m.qr_code.show.v1", "m.qr_code.scan.v1", "m.reciprocate.v1"],
    cryptoCallbacks: {
        getSecretStorageKey: async ({ keys }) => (recoveryKey ? [Object.keys(keys)[0], recoveryKey] : null),
        cacheSecretStorageKey: () => {},
    },
});
await client.initRustCrypto({ useIndexedDB: false });
const crypto = client.getCrypto();

// What is in the timeline as a person sees it: the text, or that it cannot be read.
const tellTimeline = (room) => {
    const events = room
        .getLiveTimeline()
        .getEvents()
        .filter((event) => event.isEncrypted())
        .map((event) => ({
            sender: event.getSender(),
            body: event.isDecryptionFailure() || event.isBeingDecrypted() ? null : (event.getContent().body ?? null),
        }));
    tell({ is: "timeline", events });
};
client.on(RoomEvent.Timeline, (event, room) => room && tellTimeline(room));
client.on(MatrixEventEvent.Decrypted, (event) => {
    const room = client.getRoom(event.getRoomId());
    if (room) tellTimeline(room);
});
client.on(ClientEvent.Sync, (state) => {
    if (state === "PREPARED") tell({ is: "ready", user: account.user_id });
});

// A verification: whoever is asked accepts; both show their emoji and say that they match when told to.
let request = null;
let sas = null;
let scanned = null;
let outcome = null;
const follow = (one) => {
    request = one;
    sas = scanned = outcome = null;
    const watch = () => {
        const verifier = one.verifier;
        if (verifier && !verifier.followed) {
            verifier.followed = true;
            verifier.on(VerifierEvent.ShowSas, (shown) => (sas = shown));
            verifier.on(VerifierEvent.ShowReciprocateQr, (shown) => (scanned = shown));
            verifier.verify().then(
                () => (outcome = "verified"),
                (error) => (outcome = String(error)),
            );
        }
        if (one.phase === VerificationPhase.Done) outcome = "verified";
        if (one.phase === VerificationPhase.Cancelled) outcome = `cancelled: ${one.cancellationCode}`;
    };
    one.on(VerificationRequestEvent.Change, watch);
    watch();
};
client.on(CryptoEvent.VerificationRequestReceived, async (one) => {
    follow(one);
    await one.accept();
});

const passwordStage = { type: "m.login.password", identifier: { type: "m.id.user", user: account.user_id }, password };
const commands = {
    // Cross-signing, secret storage and a key backup; the recovery key is what a person would write down.
    bootstrap: async () => {
        let asked = false;
        await crypto.bootstrapCrossSigning({
            authUploadDeviceSigningKeys: async (upload) => {
                try {
                    await upload(null);
                } catch (error) {
                    asked = true;
                    await upload({ ...passwordStage, session: error.data.session });
                }
            },
        });
        const key = await crypto.createRecoveryKeyFromPassphrase();
        recoveryKey = key.privateKey;
        await crypto.bootstrapSecretStorage({
            createSecretStorageKey: async () => key,
            setupNewSecretStorage: true,
            setupNewKeyBackup: true,
        });
        return { asked, key: Buffer.from(key.privateKey).toString("base64") };
    },
    // New cross-signing keys in place of those that are there.
    reset: async () => {
        let asked = false;
        await crypto.bootstrapCrossSigning({
            setupNewCrossSigning: true,
            authUploadDeviceSigningKeys: async (upload) => {
                try {
                    await upload(null);
                } catch (error) {
                    asked = true;
                    await upload({ ...passwordStage, session: error.data.session });
                }
            },
        });
        return { asked };
    },
    // With the recovery key: sign this device, and get the old keys back.
    recover: async ({ key }) => {
        recoveryKey = new Uint8Array(Buffer.from(key, "base64"));
        await crypto.bootstrapCrossSigning({});
        await crypto.crossSignDevice(account.device_id);
        await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
        await crypto.checkKeyBackupAndEnable();
        const { total, imported } = await crypto.restoreKeyBackup();
        return { total, imported };
    },
    backup: async () => {
        // Asked anew: the client remembers what it found first.
        const info = await client.http.authedRequest("GET", "/room_keys/version", undefined, undefined, {
            prefix: "/_matrix/client/v3",
        });
        return { version: info.version, count: info.count };
    },
    create: async ({ invite }) => ({
        room: (
            await client.createRoom({
                preset: "trusted_private_chat",
                invite,
                initial_state: [
                    { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } },
                ],
            })
        ).room_id,
    }),
    invite: async ({ room, user }) => {
        await client.invite(room, user);
        return {};
    },
    join: async ({ room }) => ({ room: (await client.joinRoom(room)).roomId }),
    say: async ({ room, text }) => ({ id: (await client.sendTextMessage(room, text)).event_id }),
    devices: async ({ user }) => {
        const found = await crypto.getUserDeviceInfo([user], true);
        return { devices: [...(found.get(user)?.keys() ?? [])].sort() };
    },
    device: async ({ user, device }) => {
        const status = await crypto.getDeviceVerificationStatus(user, device);
        return { verified: status?.crossSigningVerified ?? false, signed: status?.signedByOwner ?? false };
    },
    user: async ({ user }) => {
        const status = await crypto.getUserVerificationStatus(user);
        return { verified: status.isCrossSigningVerified(), identity: await crypto.userHasCrossSigningKeys(user, true) };
    },
    // Short authentication strings with a device, over messages to devices.
    verify: async ({ user, device }) => {
        // The client gets to know of devices in its own time.
        for (let tries = 0; ; tries++) {
            try {
                follow(await crypto.requestDeviceVerification(user, device));
                return {};
            } catch (error) {
                if (tries === 50 || !String(error).includes("Not a known device")) throw error;
                await new Promise((resolve) => setTimeout(resolve, 200));
            }
        }
    },
    start: async () => {
        await request.startVerification("m.sas.v1");
        follow(request);
        return {};
    },
    phase: async () => ({
        phase: request ? VerificationPhase[request.phase] : null,
        emoji: sas?.sas?.emoji?.map(([shown]) => shown).join(" ") ?? null,
        scanned: Boolean(scanned ?? request?.verifier?.getReciprocateQrCodeCallbacks?.()),
        outcome,
    }),
    match: async () => {
        await sas.confirm();
        return {};
    },
    // A code for a camera, what a camera saw, and whoever showed the code says that it was seen.
    qr: async () => ({ code: Buffer.from(await request.generateQRCode()).toString("base64") }),
    scan: async ({ code }) => {
        const verifier = await request.scanQRCode(new Uint8ClampedArray(Buffer.from(code, "base64")));
        verifier.followed = true;
        verifier.verify().then(
            () => (outcome = "verified"),
            (error) => (outcome = String(error)),
        );
        return {};
    },
    seen: async () => {
        (scanned ?? request.verifier.getReciprocateQrCodeCallbacks()).confirm();
        return {};
    },
    // A file of a message: what is uploaded is for nobody to read, the key to it is in the message.
    attach: async ({ room, name, text }) => {
        const encrypted = Attachment.encrypt(new TextEncoder().encode(text));
        const info = JSON.parse(encrypted.mediaEncryptionInfo);
        const data = new Blob([encrypted.encryptedData], { type: "application/octet-stream" });
        const { content_uri: url } = await client.uploadContent(data, { includeFilename: false });
        const content = { msgtype: "m.file", body: name, file: { ...info, url }, info: { mimetype: "text/plain" } };
        return { id: (await client.sendMessage(room, content)).event_id, url };
    },
    fetch: async ({ room, id }) => {
        const event = client.getRoom(room).findEventById(id);
        await event?.getDecryptionPromise();
        const file = event?.getContent().file;
        if (!file) return { text: null };
        const url = client.mxcUrlToHttp(file.url, undefined, undefined, undefined, false, true, true);
        const answer = await fetch(url, { headers: { authorization: `Bearer ${client.getAccessToken()}` } });
        const data = new Uint8Array(await answer.arrayBuffer());
        const text = Attachment.decrypt(new EncryptedAttachment(data, JSON.stringify(file)));
        return { text: new TextDecoder().decode(text), stored: Buffer.from(data).toString("base64") };
    },
    dehydrate: async () => {
        await crypto.startDehydration({ createNewKey: true, rehydrate: false });
        return { supported: await crypto.isDehydrationSupported() };
    },
    rehydrate: async () => {
        let keys = 0;
        client.on(CryptoEvent.RehydrationProgress, (count) => (keys = count));
        await crypto.startDehydration({ rehydrate: true, onlyIfKeyCached: false });
        return { keys };
    },
    logout: async () => {
        // It is not stopped: what its crypto still does in that moment would end the process.
        await client.logout();
        return {};
    },
};
await client.startClient({ initialSyncLimit: 30, lazyLoadMembers: false });

for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    commands[command.do](command).then(
        (answer) => tell({ is: "answer", to: command.to, ...answer }),
        (error) => tell({ is: "answer", to: command.to, error: String(error?.stack ?? error) }),
    );
}
process.exit(0);
