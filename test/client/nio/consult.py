"""A consultation between two organisations with matrix-nio on both sides.

Reads a JSON object from standard input:
    {"store": DIR, "people": [{"id": "@anna:klinik", "password": "…", "base": "http://127.0.0.1:41001"}, {…}]}
and prints a JSON object per step it has passed. The Go test beside it reads these. It ends with code 1 and the reason when a
step fails.
"""

import asyncio
import json
import os
import sys

import nio
from nio.crypto import decrypt_attachment

PATIENCE = 30  # seconds for anything that the other side has sent


def passed(step, **facts):
    print(json.dumps({"step": step, **facts}), flush=True)


def ok(response, kind):
    """The answer, if it is of the kind that says yes."""
    if not isinstance(response, kind):
        raise AssertionError(f"wanted {kind.__name__}, got {response!r}")
    return response


class Person:
    """Somebody with a client: it follows /sync, and what it brings is kept in lists."""

    def __init__(self, account, store):
        directory = os.path.join(store, account["id"].replace(":", "_"))
        os.makedirs(directory)
        self.password = account["password"]
        self.client = nio.AsyncClient(
            account["base"],
            account["id"],
            store_path=directory,
            config=nio.AsyncClientConfig(encryption_enabled=True, store_sync_tokens=True),
        )
        self.texts, self.files, self.unreadable, self.steps = [], [], [], []
        self.client.add_event_callback(lambda room, ev: self.texts.append(ev), nio.RoomMessageText)
        self.client.add_event_callback(lambda room, ev: self.files.append(ev), nio.RoomEncryptedFile)
        self.client.add_event_callback(lambda room, ev: self.unreadable.append(ev), nio.MegolmEvent)
        self.client.add_to_device_callback(self.steps.append, (nio.KeyVerificationEvent,))

    async def login(self):
        ok(await self.client.login(self.password, device_name="matrix-nio"), nio.LoginResponse)
        await self.sync(0)

    async def sync(self, wait):
        """One /sync, and what a client owes the server after it."""
        ok(await self.client.sync(timeout=wait, full_state=False), nio.SyncResponse)
        await self.client.send_to_device_messages()
        if self.client.should_upload_keys:
            ok(await self.client.keys_upload(), nio.KeysUploadResponse)
        if self.client.should_query_keys:
            ok(await self.client.keys_query(), nio.KeysQueryResponse)
        if self.client.should_claim_keys:
            ok(await self.client.keys_claim(self.client.get_users_for_key_claiming()), nio.KeysClaimResponse)

    async def until(self, what, found):
        """Follows /sync until found() answers something."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while not found():
            left = end - loop.time()
            if left <= 0:
                raise AssertionError(f"{self.client.user_id} does not see {what}; unreadable: {len(self.unreadable)}")
            await self.sync(int(min(left, 10) * 1000))
        return found()

    async def say(self, room, text):
        response = await self.client.room_send(room, "m.room.message", {"msgtype": "m.text", "body": text})
        return ok(response, nio.RoomSendResponse).event_id

    async def hears(self, text):
        event = await self.until(f"{text!r}", lambda: next((e for e in self.texts if e.body == text), None))
        if not event.decrypted:
            raise AssertionError(f"{text!r} came in the clear")
        return event

    def device_of(self, other):
        return self.client.device_store[other.client.user_id][other.client.device_id]


async def meet(host, guest):
    """An encrypted room of the two."""
    created = await host.client.room_create(
        preset=nio.RoomPreset.private_chat,
        invite=[guest.client.user_id],
        initial_state=[nio.EnableEncryptionBuilder().as_dict()],
    )
    room = ok(created, nio.RoomCreateResponse).room_id
    await guest.until("the invitation", lambda: room in guest.client.invited_rooms)
    ok(await guest.client.join(room), nio.JoinResponse)
    for person, other in ((host, guest), (guest, host)):
        await person.until("the other's device", lambda: room in person.client.rooms
                           and other.client.user_id in person.client.rooms[room].users
                           and other.client.device_id in person.client.device_store[other.client.user_id])
        if not person.client.rooms[room].encrypted:
            raise AssertionError(f"{person.client.user_id} takes the room for an open one")
    passed("met", room=room)
    return room


async def verify(a, b):
    """The two compare emoji, over to-device messages between their servers."""
    ok(await a.client.start_key_verification(a.device_of(b)), nio.ToDeviceResponse)

    def step(person, kind):
        return lambda: next((e for e in person.steps if isinstance(e, kind)), None)

    started = await b.until("the start of the verification", step(b, nio.KeyVerificationStart))
    txn = started.transaction_id
    ok(await b.client.accept_key_verification(txn), nio.ToDeviceResponse)
    await a.until("that it was accepted", step(a, nio.KeyVerificationAccept))
    await a.client.send_to_device_messages()
    await b.until("the key", step(b, nio.KeyVerificationKey))
    await b.client.send_to_device_messages()
    await a.until("the key", step(a, nio.KeyVerificationKey))
    emoji = [p.client.key_verifications[txn].get_emoji() for p in (a, b)]
    if len(emoji[0]) != 7 or emoji[0] != emoji[1]:
        raise AssertionError(f"emoji differ: {emoji}")
    for person in (a, b):
        ok(await person.client.confirm_short_auth_string(txn), nio.ToDeviceResponse)
    for person, other in ((a, b), (b, a)):
        await person.until("the other's confirmation", step(person, nio.KeyVerificationMac))
        if not person.device_of(other).verified:
            raise AssertionError(f"{person.client.user_id} does not trust the other's device")
    passed("verified", emoji=" ".join(symbol for symbol, _ in emoji[0]))


async def exchange_file(sender, receiver, room, size):
    """An encrypted file by the old media endpoints, which is all that nio knows."""
    data = os.urandom(size)
    path = os.path.join(sender.client.store_path, "befund.pdf")
    with open(path, "wb") as f:
        f.write(data)
    with open(path, "rb") as f:
        response, keys = await sender.client.upload(f, "application/pdf", "befund.pdf", encrypt=True, filesize=size)
    uri = ok(response, nio.UploadResponse).content_uri
    content = {"msgtype": "m.file", "body": "befund.pdf", "info": {"size": size, "mimetype": "application/pdf"}, "file": {"url": uri, **keys}}
    ok(await sender.client.room_send(room, "m.room.message", content), nio.RoomSendResponse)
    event = await receiver.until("the file", lambda: next((e for e in receiver.files if e.url == uri), None))
    stored = ok(await receiver.client.download(event.url), nio.DownloadResponse).body
    if stored == data:
        raise AssertionError("the file lies on the server in the clear")
    if decrypt_attachment(stored, event.key["k"], event.hashes["sha256"], event.iv) != data:
        raise AssertionError("the file differs")
    passed("file", bytes=len(data))


async def main():
    work = json.load(sys.stdin)
    a, b = (Person(account, work["store"]) for account in work["people"])
    try:
        await a.login()
        await b.login()
        room = await meet(a, b)
        await verify(a, b)
        said = await a.say(room, "Darf ich Sie etwas fragen?")
        await b.hears("Darf ich Sie etwas fragen?")
        answered = await b.say(room, "Gern.")
        await a.hears("Gern.")
        passed("talked", events=[said, answered])
        await exchange_file(a, b, room, 150_000)
        await exchange_file(b, a, room, 3)
        if a.unreadable or b.unreadable:
            raise AssertionError(f"unreadable: {a.unreadable + b.unreadable}")
        ok(await a.client.logout(), nio.LogoutResponse)
        passed("done")
    finally:
        await a.client.close()
        await b.client.close()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except AssertionError as wrong:
        sys.exit(f"failed: {wrong}")
