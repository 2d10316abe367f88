"""A session of a LiveTalk server over its WebSocket."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import struct
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
from PIL import Image

# A message with a picture: version, number, sample, utterance, bytes of sound.
_HEADER = struct.Struct("<B3xIQII")
_VERSION = 1

# Speech is sent in pieces of so many seconds, and at most so far ahead of real time: what is sent cannot be taken back quickly.
_PIECE = 0.4
_AHEAD = 3.0


class AvatarError(Exception):
    """The server refused something or went away; the text says what."""


@dataclass(frozen=True)
class Format:
    width: int
    height: int
    frames_per_second: int
    sample_rate: int


@dataclass(frozen=True)
class Frame:
    """One picture with the sound that is heard while it is shown."""

    number: int
    sample: int
    """Of the session, at which both begin."""
    utterance: int
    """Whose sound it is; 0 while nobody speaks."""
    sound: bytes
    """16-bit little-endian mono at the format's rate."""
    jpeg: bytes

    def rgb(self) -> tuple[bytes, int, int]:
        """The picture's RGB8 bytes, width and height."""
        image = Image.open(io.BytesIO(self.jpeg)).convert("RGB")
        return image.tobytes(), image.width, image.height


class Avatar:
    """An avatar that speaks what it is given.

    async with Avatar("http://127.0.0.1:8080", avatar="iris") as avatar:
        await avatar.speak(pcm, 24000)
        await avatar.end_of_speech()
        async for item in avatar:  # Frame, or an event of the server as a dict
            ...
    """

    def __init__(self, url: str, *, token: str | None = None, avatar: str | None = None, prompt: str | None = None):
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._request = {name: value for name, value in (("avatar", avatar), ("prompt", prompt)) if value}
        self._http: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._buffer, self._rate = bytearray(), 0
        self._sending = asyncio.Lock()
        self._sent_until = 0.0
        self._epoch = 0
        self.id = ""
        self.format = Format(0, 0, 0, 0)

    async def __aenter__(self) -> Avatar:
        self._http = aiohttp.ClientSession(headers=self._headers)
        try:
            async with self._http.post(f"{self._url}/v1/sessions", json=self._request) as reply:
                body = await reply.json(content_type=None)
                if reply.status != 201:
                    raise AvatarError(_message(body) or f"The server answers with status {reply.status}.")
            self.id = body["id"]
            self._socket = await self._http.ws_connect(
                f"{self._url}/v1/sessions/{self.id}/stream", max_msg_size=16 << 20, heartbeat=10)
            hello = await self._socket.receive_json(timeout=10)
            size = hello["format"]["size"]
            self.format = Format(
                size["width"], size["height"], hello["format"]["framesPerSecond"], hello["format"]["sampleRate"])
        except (aiohttp.ClientError, KeyError, TypeError, ValueError, asyncio.TimeoutError) as error:
            await self.close()
            raise AvatarError(f"There is no LiveTalk server at {self._url}: {error}") from error
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the session."""
        if self._socket and not self._socket.closed:
            try:
                await self._send({"type": "close"})
            except AvatarError:
                pass
            await self._socket.close()
        if self._http:
            await self._http.close()
        self._socket = self._http = None

    # Speech

    async def speak(self, pcm: bytes, rate: int) -> None:
        """Further sound of an utterance: 16-bit mono at 8 to 48 kHz. Waits where it is far ahead of real time."""
        epoch = self._epoch
        async with self._sending:
            if epoch != self._epoch:
                return
            if rate != self._rate:
                await self._flush(epoch)
                self._rate = rate
            self._buffer += pcm
            size = int(rate * _PIECE) * 2
            while len(self._buffer) >= size and epoch == self._epoch:
                piece, self._buffer = self._buffer[:size], self._buffer[size:]
                await self._append(bytes(piece), epoch)

    async def end_of_speech(self) -> None:
        """The utterance is complete."""
        epoch = self._epoch
        async with self._sending:
            await self._flush(epoch)
            if epoch == self._epoch:
                await self._send({"type": "speech.finish"})

    async def interrupt(self) -> None:
        """Stops what is said, and forgets what waits to be said."""
        self._epoch += 1
        self._buffer.clear()
        self._sent_until = 0.0
        await self._send({"type": "interrupt"})

    async def _flush(self, epoch: int) -> None:
        piece, self._buffer = bytes(self._buffer), bytearray()
        if piece:
            await self._append(piece, epoch)

    async def _append(self, pcm: bytes, epoch: int) -> None:
        now = time.monotonic()
        self._sent_until = max(self._sent_until, now)
        while self._sent_until - time.monotonic() > _AHEAD and epoch == self._epoch:
            await asyncio.sleep(0.05)
        if epoch != self._epoch:
            return
        self._sent_until += len(pcm) / 2 / self._rate
        await self._send(
            {"type": "speech.append", "audio": {"rate": self._rate, "pcm": base64.b64encode(pcm).decode()}})

    async def _send(self, command: dict[str, Any]) -> None:
        if not self._socket or self._socket.closed:
            raise AvatarError("The connection to the LiveTalk server is closed.")
        try:
            await self._socket.send_str(json.dumps(command))
        except (ConnectionError, aiohttp.ClientError) as error:
            raise AvatarError(f"The connection to the LiveTalk server broke: {error}") from error

    # What comes out

    async def __aiter__(self) -> AsyncIterator[Frame | dict[str, Any]]:
        socket = self._socket
        if not socket:
            return
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                version, number, sample, utterance, length = _HEADER.unpack_from(message.data)
                if version != _VERSION:
                    raise AvatarError(f"The server sends version {version} of its stream; this package knows {_VERSION}.")
                end = _HEADER.size + length
                yield Frame(number, sample, utterance, message.data[_HEADER.size : end], message.data[end:])
            elif message.type is aiohttp.WSMsgType.TEXT:
                yield json.loads(message.data)


def mono(pcm: bytes, channels: int) -> bytes:
    """The mean of interleaved 16-bit channels."""
    if channels == 1:
        return pcm
    import numpy as np

    return np.frombuffer(pcm, dtype=np.int16).reshape(-1, channels).mean(axis=1).astype(np.int16).tobytes()


def _message(body: Any) -> str | None:
    return body.get("error", {}).get("message") if isinstance(body, dict) else None
