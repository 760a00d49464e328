// Somebody with a client: a session of matrix-js-sdk with its Rust crypto, kept in memory.

import * as sdk from "matrix-js-sdk";

const patience = 30_000; // milliseconds for anything that the other side has sent

/** The events after which something one waits for may have become true. */
const news = [
	sdk.ClientEvent.Sync, sdk.ClientEvent.Event, sdk.ClientEvent.Room, sdk.MatrixEventEvent.Decrypted, sdk.RoomEvent.Timeline,
	sdk.RoomEvent.MyMembership, sdk.RoomMemberEvent.Membership, sdk.RoomStateEvent.Events, "crypto.verificationRequestReceived",
	"crypto.devicesUpdated", "userTrustStatusChanged", "crypto.keysChanged",
];

export class Person {
	/** Logs in; keys are published and /sync is followed until stop(). secrets.key opens the secret storage. */
	static async login(account, secrets = {}) {
		const login = await sdk.createClient({ baseUrl: account.base }).loginRequest({
			type: "m.login.password", identifier: { type: "m.id.user", user: account.id }, password: account.password,
			initial_device_display_name: "matrix-js-sdk",
		});
		const person = new Person();
		person.account = account;
		person.requests = [];
		person.client = sdk.createClient({
			baseUrl: account.base, userId: login.user_id, accessToken: login.access_token, deviceId: login.device_id,
			verificationMethods: ["m.sas.v1"],
			cryptoCallbacks: {
				getSecretStorageKey: async ({ keys }) => {
					const [id] = Object.keys(keys);
					return secrets.key ? [id, secrets.key] : null;
				},
				cacheSecretStorageKey: (_id, _info, key) => (secrets.key = key),
			},
		});
		await person.client.initRustCrypto({ useIndexedDB: false });
		person.client.on("crypto.verificationRequestReceived", (request) => person.requests.push(request));
		await person.client.startClient({ initialSyncLimit: 30, lazyLoadMembers: true });
		await person.until("the first sync", () => person.client.isInitialSyncComplete());
		return person;
	}

	get crypto() {
		return this.client.getCrypto();
	}

	get id() {
		return this.client.getUserId();
	}

	stop() {
		this.client.stopClient();
	}

	/** Waits until found() answers something, asking again whenever there are news, of the client or of more emitters. */
	until(what, found, ...more) {
		const sources = [...news.map((event) => [this.client, event]), ...more];
		return new Promise((resolve, reject) => {
			const end = (settle, value) => {
				clearTimeout(late);
				for (const [emitter, event] of sources) emitter.off(event, look);
				settle(value);
			};
			const look = async () => {
				try {
					const value = await found();
					if (value) end(resolve, value);
				} catch (wrong) {
					end(reject, wrong);
				}
			};
			const late = setTimeout(() => end(reject, new Error(`${this.id} does not see ${what}`)), patience);
			for (const [emitter, event] of sources) emitter.on(event, look);
			look();
		});
	}

	/** Makes cross-signing keys, secret storage and a key backup; answers the recovery key. */
	async bootstrap() {
		const recovery = await this.crypto.createRecoveryKeyFromPassphrase();
		await this.crypto.bootstrapCrossSigning({
			authUploadDeviceSigningKeys: (upload) => upload({
				type: "m.login.password", identifier: { type: "m.id.user", user: this.id }, password: this.account.password,
			}),
		});
		await this.crypto.bootstrapSecretStorage({
			createSecretStorageKey: async () => recovery, setupNewSecretStorage: true, setupNewKeyBackup: true,
		});
		return recovery;
	}

	async say(room, body) {
		return (await this.client.sendTextMessage(room, body)).event_id;
	}

	/** Finds a message by what it says. */
	heard(room, body) {
		return this.events(room).find((event) => event.getType() === "m.room.message" && event.getContent().body === body);
	}

	events(room) {
		return this.client.getRoom(room)?.getLiveTimeline().getEvents() ?? [];
	}

	async hears(room, body) {
		const event = await this.until(`"${body}"`, () => this.heard(room, body));
		if (!event.isEncrypted()) throw new Error(`"${body}" came in the clear`);
		return event;
	}
}
