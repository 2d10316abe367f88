"""A server that speaks the stream of docs/SERVING.md: it says at once what it is given, in real time, with a picture for each 1/16 s."""

import asyncio
import base64
import io
import json
import struct

from aiohttp import web
from PIL import Image

RATE, FPS = 16000, 16


class FakeServer:
    def __init__(self):
        self.commands, self.tokens, self.frames = [], [], 0
        self.url = ""

    async def create(self, request):
        self.tokens.append(request.headers.get("Authorization"))
        body = await request.json()
        if body.get("avatar") == "nobody":
            error = {"code": "not_found", "message": "There is no avatar called nobody."}
            return web.json_response({"error": error}, status=404)
        return web.json_response({"id": "s1"}, status=201)

    async def stream(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.socket = socket
        form = {"size": {"width": 64, "height": 48}, "framesPerSecond": FPS, "sampleRate": RATE}
        await socket.send_json({"type": "session", "id": "s1", "format": form, "input_rate": 16000})
        self.queue, self.open, self.count = [], None, 0
        sender = asyncio.create_task(self.send(socket))
        try:
            async for message in socket:
                command = json.loads(message.data)
                self.commands.append(command["type"])
                if command["type"] == "speech.append":
                    assert command["audio"]["rate"] == RATE, "the tests speak at the server's rate"
                    if self.open is None:
                        self.count += 1
                        self.open = [self.count, bytearray(), False]
                        self.queue.append(self.open)
                    self.open[1] += base64.b64decode(command["audio"]["pcm"])
                elif command["type"] == "speech.finish" and self.open:
                    self.open[2], self.open = True, None
                elif command["type"] == "interrupt":
                    self.queue, self.open = [], None
        finally:
            sender.cancel()
        return socket

    async def end(self, reason):
        """Ends the session, with its event or without."""
        if reason:
            await self.socket.send_json({"type": "closed", "reason": reason})
        await self.socket.close()

    async def send(self, socket):
        picture = io.BytesIO()
        Image.new("RGB", (64, 48), (200, 30, 30)).save(picture, "JPEG")
        start, size = asyncio.get_running_loop().time(), RATE // FPS * 2
        number = 0
        while True:
            wait = start + number / FPS - asyncio.get_running_loop().time()
            await asyncio.sleep(max(wait, 0))
            utterance, sound = 0, bytes(size)
            if self.queue:
                first = self.queue[0]
                if len(first[1]) >= size or (first[2] and first[1]):
                    utterance, sound = first[0], bytes(first[1][:size]).ljust(size, b"\0")
                    del first[1][:size]
                if first[2] and not first[1]:
                    self.queue.pop(0)
            header = struct.pack("<B3xIQII", 1, number, number * RATE // FPS, utterance, len(sound))
            await socket.send_bytes(header + sound + picture.getvalue())
            number += 1




def run_with_server(body):
    """Runs `body(server)` beside a server."""

    async def main():
        server = FakeServer()
        app = web.Application()
        app.router.add_post("/v1/sessions", server.create)
        app.router.add_get("/v1/sessions/s1/stream", server.stream)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        try:
            await asyncio.wait_for(body(server), 60)
        finally:
            await runner.cleanup()

    asyncio.run(main())


def speech(seconds, level=8000):
    return struct.pack("<h", level) * int(seconds * RATE)
