// A consultation between two organisations with matrix-js-sdk on both sides.
//
// Reads a JSON object from standard input: {"people": [{"id": "@anna:klinik", "password": "…", "base": "http://127.0.0.1:41001"}, {…}]}
// and prints a JSON object per step it has passed; the Go test beside it reads these. It ends with code 1 and the reason when
// a step fails.

import { murmur } from "./environment.mjs";
import { randomBytes } from "node:crypto";
import { text } from "node:stream/consumers";
import attachments from "matrix-encrypt-attachment";
import { Person } from "./person.mjs";

const passed = (step, facts = {}) => process.stdout.write(`${JSON.stringify({ step, ...facts })}\n`);

function must(condition, complaint) {
	if (!condition) throw new Error(complaint);
}

/** Both have keys that sign each other, secret storage and a backup. */
async function bootstrap(person) {
	const recovery = await person.bootstrap();
	must(await person.crypto.isCrossSigningReady(), `cross-signing of ${person.id} is not ready`);
	must(await person.crypto.isSecretStorageReady(), `secret storage of ${person.id} is not ready`);
	must(await person.crypto.getActiveSessionBackupVersion(), `the key backup of ${person.id} is not active`);
	return recovery;
}

async function meet(host, guest) {
	const { room_id: room } = await host.client.createRoom({
		preset: "private_chat", invite: [guest.id],
		initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
	});
	await guest.until("the invitation", () => guest.client.getRoom(room)?.getMyMembership() === "invite");
	await guest.client.joinRoom(room);
	await host.until("the guest", () => host.client.getRoom(room)?.getMember(guest.id)?.membership === "join");
	await guest.until("the room", () => guest.client.getRoom(room)?.getMyMembership() === "join");
	for (const person of [host, guest]) {
		must(await person.crypto.isEncryptionEnabledInRoom(room), `${person.id} takes the room for an open one`);
	}
	return room;
}

/** The two compare emoji, in the room. */
async function verify(a, b, room) {
	const asked = await a.crypto.requestVerificationDM(b.id, room);
	const got = await b.until("the request", () => b.requests.find((request) => request.roomId === room && request.otherUserId === a.id));
	const change = [[asked, "change"], [got, "change"]];
	await got.accept();
	const ready = 3, done = 6;
	await a.until("that it was accepted", () => asked.phase === ready, ...change);
	const mine = await asked.startVerification("m.sas.v1");
	const theirs = await b.until("the start", () => got.verifier, ...change);
	const shown = new Promise((resolve) => mine.on("show_sas", resolve));
	const shownThere = new Promise((resolve) => theirs.on("show_sas", resolve));
	const both = [mine.verify(), theirs.verify()];
	const [here, there] = await Promise.all([shown, shownThere]);
	const emoji = here.sas.emoji.map(([symbol]) => symbol).join(" ");
	must(emoji === there.sas.emoji.map(([symbol]) => symbol).join(" "), `emoji differ: ${emoji}`);
	await Promise.all([here.confirm(), there.confirm(), ...both]);
	for (const [person, other, request] of [[a, b, asked], [b, a, got]]) {
		await person.until("the end of the verification", () => request.phase === done, ...change);
		await person.until("that the other is verified",
			async () => (await person.crypto.getUserVerificationStatus(other.id)).isCrossSigningVerified(), ...change);
	}
	return emoji;
}

/** An encrypted file, over the authenticated media endpoints. */
async function exchangeFile(sender, receiver, room, size) {
	const plain = randomBytes(size);
	const { data, info } = await attachments.encryptAttachment(plain);
	const { content_uri: url } = await sender.client.uploadContent(Buffer.from(data), { type: "application/octet-stream", includeFilename: false });
	const body = `befund von ${sender.id}`;
	await sender.client.sendMessage(room, { msgtype: "m.file", body, file: { ...info, url }, info: { size } });
	const { file } = (await receiver.hears(room, body)).getContent();
	const address = receiver.client.mxcUrlToHttp(file.url, undefined, undefined, undefined, false, true, true);
	const answer = await fetch(address, { headers: { Authorization: `Bearer ${receiver.client.getAccessToken()}` } });
	must(answer.ok, `downloading ${address}: ${answer.status}`);
	const stored = Buffer.from(await answer.arrayBuffer());
	must(!stored.equals(plain), "the file lies on the server in the clear");
	const decrypted = Buffer.from(await attachments.decryptAttachment(stored, file));
	must(decrypted.equals(plain), "the file differs");
}

/** A new session of the same person: it reads nothing of the past, then restores the backup and reads all of it. */
async function secondDevice(account, recovery, room, texts) {
	const person = await Person.login(account, { key: recovery.privateKey });
	await person.until("the room", () => person.client.getRoom(room)?.getMyMembership() === "join");
	const encrypted = () => person.events(room).filter((event) => event.isEncrypted());
	await person.until("that the past is unreadable", () => encrypted().length >= texts.length && encrypted().every((event) => event.isDecryptionFailure()));
	const unreadable = encrypted().length;
	await person.crypto.bootstrapCrossSigning({});
	await person.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
	must(await person.crypto.checkKeyBackupAndEnable(), "the second device sees no backup");
	const { imported, total } = await person.crypto.restoreKeyBackup();
	must(imported === total && total > 0, `restored ${imported} of ${total}`);
	for (const body of texts) await person.hears(room, body);
	const own = await person.crypto.getDeviceVerificationStatus(person.id, person.client.getDeviceId());
	must(own.crossSigningVerified, "the second device is not verified");
	return { person, unreadable, imported };
}

/** Waits until the server's backup holds the keys of the room. */
async function backedUp(person, room, sessions) {
	await person.until("its keys in the backup", async () => {
		const version = await person.crypto.getActiveSessionBackupVersion();
		const kept = await person.client.http.authedRequest("GET", `/room_keys/keys/${encodeURIComponent(room)}`, { version });
		return Object.keys(kept.sessions).length >= sessions;
	}, [person.client, "crypto.keyBackupSessionsRemaining"]);
}

async function main() {
	const work = JSON.parse(await text(process.stdin));
	const [a, b] = await Promise.all(work.people.map((account) => Person.login(account)));
	const [recovery] = await Promise.all([bootstrap(a), bootstrap(b)]);
	passed("bootstrapped");
	const room = await meet(a, b);
	passed("met", { room });
	passed("verified", { emoji: await verify(a, b, room) });
	const texts = ["Darf ich Sie etwas fragen?", "Gern."];
	const said = await a.say(room, texts[0]);
	await b.hears(room, texts[0]);
	const answered = await b.say(room, texts[1]);
	await a.hears(room, texts[1]);
	passed("talked", { events: [said, answered] });
	await exchangeFile(a, b, room, 120_000);
	await exchangeFile(b, a, room, 5);
	passed("file");
	await backedUp(a, room, 2);
	const { person: second, ...facts } = await secondDevice(work.people[0], recovery, room, texts);
	passed("restored", facts);
	await b.say(room, "for both of your devices");
	await Promise.all([a.hears(room, "for both of your devices"), second.hears(room, "for both of your devices")]);
	for (const person of [a, b, second]) person.stop();
	passed("done");
}

try {
	await main();
	process.exit(0);
} catch (wrong) {
	process.stderr.write(`failed: ${wrong?.stack ?? wrong}\n${murmur.slice(-40).join("\n")}\n`);
	process.exit(1);
}
