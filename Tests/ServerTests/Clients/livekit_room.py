"""A room of a LiveKit server with an agent in it, for one avatar: the other side of the tests of LiveKit calls.

Its messages are those of LiveKit's own package (livekit-protocol), its connections are aiortc's. It is what a LiveKit server and livekit-agents'
`DataStreamAudioOutput` are to an avatar worker, as far as that sees them. It prints its address, does what the scenario says once the
avatar has joined, and prints what it saw and heard.

    livekit_room.py --scenario speak|interrupt|client|garbage|formats|leave|remove|die|silence|stranger [--token TOKEN]
"""

import argparse
import asyncio
import json
import math
import os
import sys
import time
import uuid
from http import HTTPStatus
from urllib.parse import parse_qs, urlparse

import numpy as np
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.sdp import candidate_from_sdp
from livekit.protocol import models, rtc
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

AGENT, AVATAR, STRANGER = "agent-1", "avatar-1", "somebody"
TOPIC = "lk.audio_stream"
CHUNK = 15_000


def say(**fields):
    print(json.dumps(fields), flush=True)


def bursts(seconds, rate, channels=1, every=1.0, length=0.3):
    """440 Hz, loud for `length` in the middle of each `every` seconds."""
    t = np.arange(int(seconds * rate)) / rate
    loud = np.abs(t % every - every / 2) < length / 2
    wave = (0.7 * 32767 * loud * np.sin(2 * math.pi * 440 * t)).astype("<i2")
    # All of it is in the first channel: the mean of two is half as loud.
    return np.stack([wave] + [np.zeros_like(wave)] * (channels - 1), axis=1).tobytes()


def without_candidates(sdp):
    """A description as LiveKit sends it, and its candidates apart."""
    lines = sdp.splitlines(True)
    found, line_number = [], -1
    for line in lines:
        line_number += line.startswith("m=")
        if line.startswith("a=candidate:"):
            found.append((line.strip()[2:], line_number))
    rest = "".join(line for line in lines if not line.startswith(("a=candidate:", "a=end-of-candidates")))
    return rest, found


class Participant:
    """One that has joined over a socket: its two connections, and the channel of each."""

    def __init__(self, room, socket, info):
        self.room, self.socket, self.info = room, socket, info
        self.subscriber, self.publisher = RTCPeerConnection(), None
        self.up, self.cids = None, []
        self.ready = asyncio.Event()

    async def serve(self):
        await self.signal(join=rtc.JoinResponse(
            room=models.Room(sid="RM_1", name="room"), participant=self.info, other_participants=self.room.others(self),
            subscriber_primary=True, ping_interval=1, ping_timeout=3,
            server_info=models.ServerInfo(version="1.9.0", protocol=16)))
        self.down = self.subscriber.createDataChannel("_reliable")
        self.subscriber.createDataChannel("_lossy", ordered=False, maxRetransmits=0)
        self.down.on("open", self.check_ready)
        await self.subscriber.setLocalDescription(await self.subscriber.createOffer())
        sdp, candidates = self.split(self.subscriber.localDescription.sdp)
        await self.signal(offer=rtc.SessionDescription(type="offer", sdp=sdp, id=7))
        await self.trickle(candidates, rtc.SUBSCRIBER)
        try:
            async for message in self.socket:
                request = rtc.SignalRequest()
                request.ParseFromString(message)
                await self.take(request)
        except ConnectionClosed:
            pass

    def split(self, sdp):
        # To the avatar candidates come by themselves, as LiveKit's server sends them.
        return without_candidates(sdp) if self.info.identity == AVATAR else (sdp, [])

    async def signal(self, **fields):
        await self.socket.send(rtc.SignalResponse(**fields).SerializeToString())

    async def trickle(self, candidates, target):
        for candidate, line in candidates:
            text = json.dumps({"candidate": candidate, "sdpMid": str(line), "sdpMLineIndex": line})
            await self.signal(trickle=rtc.TrickleRequest(candidateInit=text, target=target))

    async def take(self, request):
        kind = request.WhichOneof("message")
        room = self.room
        if kind == "ping":
            await self.signal(pong=int(time.time() * 1000))
        elif kind == "ping_req":
            room.pings += 1
            await self.signal(pong_resp=rtc.Pong(last_ping_timestamp=request.ping_req.timestamp))
        elif kind == "add_track":
            track = request.add_track
            self.cids.append(track.cid)
            room.tracks.append(
                [track.name, models.TrackType.Name(track.type), models.TrackSource.Name(track.source), track.width, track.height])
            info = models.TrackInfo(sid=f"TR_{len(self.cids)}", type=track.type, name=track.name, source=track.source)
            self.info.tracks.append(info)
            await self.signal(track_published=rtc.TrackPublishedResponse(cid=track.cid, track=info))
        elif kind == "answer":
            if request.answer.id not in (0, 7):
                room.faults.append(f"the answer has the id {request.answer.id}")
            await self.subscriber.setRemoteDescription(RTCSessionDescription(request.answer.sdp, "answer"))
        elif kind == "offer":
            await self.accept(request.offer)
        elif kind == "trickle":
            await self.add(request.trickle)
        elif kind == "leave":
            room.left[self.info.identity] = models.DisconnectReason.Name(request.leave.reason)
        elif self.info.identity == AVATAR:
            room.faults.append(f"a request {kind}")

    async def accept(self, offer):
        for cid in self.cids:
            if cid not in offer.sdp:
                self.room.faults.append(f"the offer has no track {cid}")
        if self.publisher is None:
            self.publisher = RTCPeerConnection()
            self.publisher.on("track", self.room.listen)
            self.publisher.on("datachannel", self.take_channel)
        # aiortc's client takes no certificate of RSA, GStreamer's before 1.28; Pion, of which LiveKit's server is made, does.
        sdp = offer.sdp.replace("a=setup:actpass", "a=setup:active")
        await self.publisher.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        await self.publisher.setLocalDescription(await self.publisher.createAnswer())
        sdp, candidates = self.split(self.publisher.localDescription.sdp)
        await self.signal(answer=rtc.SessionDescription(type="answer", sdp=sdp, id=offer.id))
        await self.trickle(candidates, rtc.PUBLISHER)

    async def add(self, trickle):
        fields = json.loads(trickle.candidateInit)
        connection = self.publisher if trickle.target == rtc.PUBLISHER else self.subscriber
        if not fields.get("candidate") or connection is None:
            return
        candidate = candidate_from_sdp(fields["candidate"].removeprefix("candidate:"))
        candidate.sdpMid, candidate.sdpMLineIndex = fields.get("sdpMid"), fields.get("sdpMLineIndex")
        await connection.addIceCandidate(candidate)

    def take_channel(self, channel):
        if channel.label == "_reliable":
            self.up = channel
            channel.on("message", lambda bytes: self.room.forward(self, bytes))
            self.check_ready()

    def check_ready(self):
        # The avatar needs both connections; an agent makes its publisher's when it first sends.
        if self.down.readyState == "open" and (self.up or self.info.identity != AVATAR):
            self.ready.set()


class Room:
    def __init__(self, scenario, token):
        self.scenario, self.token = scenario, token
        self.participants = {}
        self.query, self.tracks, self.left = {}, [], {}
        self.started, self.finished, self.pings, self.faults = [], [], 0, []
        self.pictures, self.sounds = [], []
        self.calls, self.acknowledged, self.sequences, self.order = {}, set(), [], []
        self.changed = asyncio.Event()
        self.over = asyncio.get_running_loop().create_future()
        self.tasks, self.url = [], ""

    # The server

    def check(self, request):
        """The status with which a request is refused, if it is."""
        address = urlparse(request.path)
        if address.path != "/rtc":
            return HTTPStatus.NOT_FOUND
        authorization = request.headers.get("Authorization")
        if authorization not in (f"Bearer {self.token}", "Bearer an.agents.token"):
            return HTTPStatus.UNAUTHORIZED
        if authorization == f"Bearer {self.token}":
            self.query = {name: values[0] for name, values in parse_qs(address.query).items()}

    async def serve(self, socket):
        if self.scenario == "stranger":
            await socket.send("Hello.")
            await socket.wait_closed()
            return
        if socket.request.headers["Authorization"] == f"Bearer {self.token}":
            info = models.ParticipantInfo(
                sid="PA_avatar", identity=AVATAR, state=models.ParticipantInfo.JOINED, kind=models.ParticipantInfo.AGENT,
                attributes={"lk.publish_on_behalf": AGENT})
        else:
            info = self.agent()
        participant = Participant(self, socket, info)
        self.participants[info.identity] = participant
        if info.identity == AVATAR:
            self.avatar = participant
            self.tasks.append(asyncio.ensure_future(self.run()))
        else:
            await self.tell(info)
        await participant.serve()
        if info.identity == AVATAR and not self.over.done():
            self.over.set_result(None)

    def agent(self, state=models.ParticipantInfo.ACTIVE):
        return models.ParticipantInfo(
            sid="PA_agent", identity=AGENT, state=state, kind=models.ParticipantInfo.AGENT, name="Agent")

    def others(self, participant):
        if self.scenario != "client":
            return [self.agent()]
        return [other.info for other in self.participants.values() if other is not participant]

    async def tell(self, info):
        """Lets everybody else know of a participant."""
        for other in self.participants.values():
            if other.info.identity != info.identity:
                await other.signal(update=rtc.ParticipantUpdate(participants=[info]))

    def forward(self, sender, bytes):
        packet = models.DataPacket()
        packet.ParseFromString(bytes)
        if sender.info.identity == AVATAR:
            self.sequences.append(packet.sequence)
            if list(packet.destination_identities) not in ([AGENT], [STRANGER]):
                self.faults.append(f"a packet for {list(packet.destination_identities)}")
        packet.participant_identity, packet.participant_sid = sender.info.identity, sender.info.sid
        for identity in packet.destination_identities:
            if identity in self.participants:
                self.participants[identity].down.send(packet.SerializeToString())
            elif identity in (AGENT, STRANGER):
                self.take_packet(packet)

    def listen(self, track):
        self.tasks.append(asyncio.ensure_future(self.watch(track) if track.kind == "video" else self.hear(track)))

    async def watch(self, track):
        try:
            while True:
                frame = await track.recv()
                image = frame.to_ndarray(format="gray")
                height, width = image.shape
                middle = image[height // 2 - 8 : height // 2 + 8, width // 2 - 8 : width // 2 + 8]
                self.pictures.append((time.time(), float(middle.mean()), width, height))
        except MediaStreamError:
            pass

    async def hear(self, track):
        try:
            while True:
                frame = await track.recv()
                wave = frame.to_ndarray().reshape(-1).astype(np.float32) / 32768
                if frame.layout.nb_channels == 2:
                    wave = wave[::2]
                step = frame.sample_rate // 100
                for place in range(0, len(wave), step):
                    loud = float(np.sqrt(np.mean(wave[place : place + step] ** 2)))
                    self.sounds.append((time.time() + place / frame.sample_rate, loud))
        except MediaStreamError:
            pass

    # The agent

    def send(self, **fields):
        packet = models.DataPacket(participant_identity=AGENT, participant_sid="PA_agent", destination_identities=[AVATAR], **fields)
        self.avatar.down.send(packet.SerializeToString())

    def take_packet(self, packet):
        kind = packet.WhichOneof("value")
        if kind == "rpc_ack":
            self.acknowledged.add(packet.rpc_ack.request_id)
        elif kind == "rpc_response":
            if packet.rpc_response.request_id in self.calls:
                self.order.append("answer")
                self.calls[packet.rpc_response.request_id].set_result(packet.rpc_response)
        elif kind == "rpc_request":
            request = packet.rpc_request
            self.send(rpc_ack=models.RpcAck(request_id=request.id))
            if request.method == "lk.playback_started":
                self.started.append(time.time())
            elif request.method == "lk.playback_finished":
                # As livekit-agents reads it.
                self.finished.append({"at": time.time(), **json.loads(request.payload)})
                self.order.append("finished")
            else:
                self.faults.append(f"a call of {request.method}")
            first = self.scenario == "formats" and len(self.finished) == 1 and not getattr(self, "has_failed", False)
            if first and request.method == "lk.playback_finished":
                self.has_failed = True
                self.send(rpc_response=models.RpcResponse(request_id=request.id, error=models.RpcError(code=1500, message="no")))
                self.finished.pop()
            else:
                self.send(rpc_response=models.RpcResponse(request_id=request.id, payload="ok"))
            self.changed.set()
        else:
            self.faults.append(f"a packet {kind}")

    async def call(self, method, payload="", identity=AGENT):
        id = str(uuid.uuid4())
        self.calls[id] = asyncio.get_running_loop().create_future()
        request = models.RpcRequest(id=id, method=method, payload=payload, response_timeout_ms=10_000, version=1)
        packet = models.DataPacket(participant_identity=identity, destination_identities=[AVATAR], rpc_request=request)
        self.avatar.down.send(packet.SerializeToString())
        response = await asyncio.wait_for(self.calls[id], 5)
        if id not in self.acknowledged:
            self.faults.append(f"{method} was not acknowledged")
        return response

    async def speak(self, pcm, rate, channels=1, close=True, **attributes):
        """One segment, as `stream_bytes` sends it: faster than it is spoken."""
        id = "AUDIO_" + uuid.uuid4().hex[:12]
        stated = {"sample_rate": str(rate), "num_channels": str(channels), **attributes}
        self.send(stream_header=models.DataStream.Header(
            stream_id=id, timestamp=int(time.time() * 1000), topic=TOPIC, mime_type="application/octet-stream", attributes=stated,
            byte_header=models.DataStream.ByteHeader(name=id)))
        for index, place in enumerate(range(0, len(pcm), CHUNK)):
            self.send(stream_chunk=models.DataStream.Chunk(stream_id=id, chunk_index=index, content=pcm[place : place + CHUNK]))
            await asyncio.sleep(0.01)
        if close:
            self.send(stream_trailer=models.DataStream.Trailer(stream_id=id))
        return id

    async def until(self, condition, seconds):
        deadline = time.time() + seconds
        while not condition():
            self.changed.clear()
            left = deadline - time.time()
            if left <= 0:
                self.faults.append("waited in vain")
                return
            try:
                await asyncio.wait_for(self.changed.wait(), min(left, 0.2))
            except asyncio.TimeoutError:
                pass

    async def run(self):
        await asyncio.wait_for(self.avatar.ready.wait(), 20)
        if len(self.tracks) != 2:
            self.faults.append("the avatar is connected without having told its tracks")
        self.avatar.info.state = models.ParticipantInfo.ACTIVE
        await self.tell(self.avatar.info)
        await self.until(lambda: len(self.pictures) > 8, 10)
        try:
            await getattr(self, self.scenario)()
        except Exception as error:
            self.faults.append(f"{type(error).__name__}: {error}")
        if not self.over.done():
            self.over.set_result(None)

    async def speak_two(self):
        await self.speak(bursts(3, 24_000), 24_000)
        await self.speak(bursts(2, 48_000, 2), 48_000, 2)
        await self.until(lambda: len(self.finished) == 2, 15)

    async def interrupt(self):
        stream = await self.speak(bursts(10, 24_000), 24_000, close=False)
        await self.until(lambda: self.started, 10)
        await asyncio.sleep(1.5)
        self.cleared = time.time()
        self.answer = (await self.call("lk.clear_buffer")).payload
        # What still comes of the segment is not to be spoken.
        self.send(stream_chunk=models.DataStream.Chunk(stream_id=stream, chunk_index=32, content=bursts(1, 24_000)))
        self.send(stream_trailer=models.DataStream.Trailer(stream_id=stream))
        await self.until(lambda: self.finished, 5)
        await asyncio.sleep(1.5)
        self.stranger = (await self.call("lk.clear_buffer", identity=STRANGER)).payload
        self.unknown = (await self.call("lk.dance")).error.code
        await self.speak(bursts(1, 24_000), 24_000)
        await self.until(lambda: len(self.finished) == 2, 10)

    async def garbage(self):
        for bytes in (b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", os.urandom(2000), b""):
            await self.avatar.socket.send(bytes)
            self.avatar.down.send(bytes or b"\x00")
        await self.avatar.socket.send("This is no message of LiveKit's.")
        self.send(stream_chunk=models.DataStream.Chunk(stream_id="nobody's", chunk_index=3, content=b"123"))
        self.send(stream_trailer=models.DataStream.Trailer(stream_id="nobody's"))
        self.send(rpc_response=models.RpcResponse(request_id="nobody's", payload="ok"))
        await self.speak(bursts(1, 16_000), 16_000)
        await self.until(lambda: self.finished, 10)

    async def formats(self):
        """The first end of playback is answered by an error; then segments in formats that there are not."""
        await self.speak(bursts(1, 24_000), 24_000)
        await self.until(lambda: len(self.finished) == 1, 10)
        await self.speak(b"12" * 100, 24_000, sample_rate="7")
        await self.speak(b"12" * 100, 24_000, num_channels="99")
        await self.speak(b"12" * 100, 24_000, sample_rate="many")
        await self.until(lambda: len(self.finished) == 4, 10)

    async def leave(self):
        gone = self.agent(models.ParticipantInfo.DISCONNECTED)
        await self.avatar.signal(update=rtc.ParticipantUpdate(participants=[gone]))
        await asyncio.wait_for(self.avatar.socket.wait_closed(), 10)

    async def remove(self):
        await self.avatar.signal(leave=rtc.LeaveRequest(reason=models.PARTICIPANT_REMOVED))
        await asyncio.wait_for(self.avatar.socket.wait_closed(), 10)

    async def die(self):
        await self.speak(bursts(5, 24_000), 24_000)
        await self.until(lambda: self.started, 10)
        say(dying=True)
        os._exit(0)

    async def silence(self):
        """Nothing, until the avatar leaves."""
        await self.avatar.socket.wait_closed()

    async def client(self):
        """The agent is a program of its own, over LiveKit's own client."""
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "livekit_agent.py")
        process = await asyncio.create_subprocess_exec(
            sys.executable, script, self.url, "an.agents.token", stdout=asyncio.subprocess.PIPE)
        output, _ = await asyncio.wait_for(process.communicate(), 40)
        said = json.loads(output.splitlines()[-1])
        self.finished, self.started = said.pop("finished"), said.pop("started")
        self.faults += said.pop("faults")
        self.answer, self.heard = said.pop("answer"), said.pop("heard")

    # What it saw

    def report(self):
        def onsets(series, quiet, loud):
            result, last = [], 0.0
            is_quiet = True
            for at, value in series:
                if is_quiet and value > loud and at - last > 0.3:
                    result.append(at)
                    last, is_quiet = at, False
                elif value < quiet:
                    is_quiet = True
            return result

        clicks = onsets(self.sounds, 0.05, 0.15)
        flashes = onsets([(at, value) for at, value, *_ in self.pictures], 50, 80)
        lips = [min((flash - click for click in clicks), key=abs) for flash in flashes] if clicks else []
        finished = [[item["playback_position"], item["interrupted"]] for item in self.finished]
        fields = {name: getattr(self, name) for name in ("answer", "stranger", "unknown", "heard") if hasattr(self, name)}
        if hasattr(self, "cleared") and self.started and self.finished:
            fields["heard"] = self.cleared - self.started[0]
            fields["told"] = self.finished[0]["at"] - self.cleared
            fields["isToldAfterAnswer"] = self.order[:2] == ["answer", "finished"]
        size = list(self.pictures[-1][2:]) if self.pictures else []
        say(
            query=self.query, tracks=sorted(self.tracks), left=self.left.get(AVATAR), started=len(self.started), finished=finished,
            pictures=len(self.pictures), size=size, clicks=len(clicks), flashes=len(flashes), lips=lips, pings=self.pings,
            faults=self.faults, sequences=self.sequences == list(range(1, len(self.sequences) + 1)), **fields)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--scenario", default="speak")
    parser.add_argument("--token", default="a.good.token")
    arguments = parser.parse_args()
    room = Room({"speak": "speak_two"}.get(arguments.scenario, arguments.scenario), arguments.token)

    def check(connection, request):
        status = room.check(request)
        return connection.respond(status, "no\n") if status else None

    async with serve(room.serve, "127.0.0.1", 0, process_request=check, max_size=None) as server:
        room.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        say(url=room.url)
        await room.over
        room.report()
        for participant in room.participants.values():
            await participant.socket.close()
        os._exit(0)


asyncio.run(main())
