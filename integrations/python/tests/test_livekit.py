"""The worker against livekit-agents' own sending side, over a room that exists in memory only."""

import asyncio
import json
import pytest
from types import SimpleNamespace

from livekit import rtc
from livekit import api
from livekit.agents import AgentSession
from livekit.agents.voice.avatar import DataStreamAudioOutput

from conftest import RATE, run_with_server, speech
from livetalk_avatar import AvatarError
from livetalk_avatar.livekit import AvatarSession, run_avatar_worker


class Reader:
    def __init__(self, info):
        self.info, self._queue = info, asyncio.Queue()

    def __aiter__(self):
        return self

    async def __anext__(self):
        data = await self._queue.get()
        if data is None:
            raise StopAsyncIteration
        return data


class Writer:
    def __init__(self, reader):
        self.reader, self.info = reader, reader.info

    async def write(self, data):
        self.reader._queue.put_nowait(bytes(data))

    async def aclose(self, **_):
        self.reader._queue.put_nowait(None)


class Publication:
    def __init__(self, track):
        self.track, self.kind = track, track.kind

    async def wait_for_subscription(self):
        pass


class Participant:
    """One side's view of itself, and what the other may ask of it."""

    def __init__(self, room, identity):
        self.room, self.identity = room, identity
        self.kind, self.state = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT, rtc.ParticipantState.PARTICIPANT_STATE_ACTIVE
        self._rpc_handlers, self.track_publications, self.published, self.calls = {}, {}, [], []
        self.attributes = {}

    def register_rpc_method(self, name, handler):
        self._rpc_handlers[name] = handler

    def unregister_rpc_method(self, name):
        self._rpc_handlers.pop(name, None)

    async def perform_rpc(self, *, destination_identity, method, payload, response_timeout=None):
        self.calls.append((method, payload))
        handler = self.room.other.local_participant._rpc_handlers.get(method)
        if handler is None:
            raise rtc.RpcError(rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD, method)
        answer = handler(SimpleNamespace(caller_identity=self.identity, payload=payload, request_id="1", response_timeout=2))
        return await answer if asyncio.iscoroutine(answer) else answer

    async def stream_bytes(self, name, *, topic, attributes=None, destination_identities=None, **_):
        reader = Reader(SimpleNamespace(attributes=attributes, name=name, topic=topic, stream_id=name))
        self.room.other.byte_handlers[topic](reader, self.identity)
        return Writer(reader)

    async def publish_track(self, track, options):
        self.published.append(track.name)
        publication = Publication(track)
        self.track_publications[track.name] = publication
        self.room.other.emit("track_published", publication, self)
        return publication


class Room(rtc.EventEmitter):
    def __init__(self, identity):
        super().__init__()
        self.local_participant, self.byte_handlers, self.name = Participant(self, identity), {}, "room"
        self.remote_participants, self.is_connected = {}, True

    def join(self, other):
        self.other = other
        self.remote_participants[other.local_participant.identity] = other.local_participant

    def isconnected(self):
        return self.is_connected

    async def disconnect(self):
        if self.is_connected:
            self.is_connected = False
            self.other.remote_participants.pop(self.local_participant.identity, None)
            self.other.emit("participant_disconnected", self.local_participant)
            self.emit("disconnected", "CLIENT_INITIATED")

    def register_byte_stream_handler(self, topic, handler):
        self.byte_handlers[topic] = handler


async def with_worker(server, body):
    agent, worker = Room("agent"), Room("avatar")
    agent.join(worker)
    worker.join(agent)
    task = asyncio.create_task(run_avatar_worker(worker, url=server.url, avatar="iris", agent="agent"))
    output = DataStreamAudioOutput(agent, destination_identity="avatar", sample_rate=RATE, wait_playback_start=True)
    while "lk.audio_stream" not in worker.byte_handlers:
        await asyncio.sleep(0.05)
        assert not task.done(), task.exception()
    try:
        await body(output, worker)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def say(output, seconds):
    data = speech(seconds)
    for place in range(0, len(data), 3200):
        piece = data[place : place + 3200]
        await output.capture_frame(rtc.AudioFrame(piece, RATE, 1, len(piece) // 2))
    output.flush()


def finishes(worker):
    return [json.loads(payload) for method, payload in worker.local_participant.calls if method == "lk.playback_finished"]


def starts(worker):
    return sum(method == "lk.playback_started" for method, _ in worker.local_participant.calls)


def test_segments_are_played_and_each_is_finished_once():
    async def body(server):
        async def two(output, worker):
            for number in (1, 2):
                await say(output, 1.0)
                done = await asyncio.wait_for(output.wait_for_playout(), 10)
                assert not done.interrupted and abs(done.playback_position - 1.0) < 0.07, done
                assert starts(worker) == number
            await asyncio.sleep(0.5)
            assert len(finishes(worker)) == 2
            assert worker.local_participant.published == ["avatar_audio", "avatar_video"]

        await with_worker(server, two)

    run_with_server(body)


def test_clearing_the_buffer_finishes_the_segment_as_interrupted():
    async def body(server):
        async def cut(output, worker):
            await say(output, 4.0)
            await asyncio.sleep(1.5)
            output.clear_buffer()
            done = await asyncio.wait_for(output.wait_for_playout(), 5)
            assert done.interrupted and 0.3 < done.playback_position < 2.0, done
            # The next segment is whole, and no end of the old one comes after it.
            await say(output, 0.5)
            done = await asyncio.wait_for(output.wait_for_playout(), 10)
            assert not done.interrupted and abs(done.playback_position - 0.5) < 0.07, done
            await asyncio.sleep(0.5)
            assert [finish["interrupted"] for finish in finishes(worker)] == [True, False]
            assert "interrupt" in server.commands

        await with_worker(server, cut)

    run_with_server(body)


async def worker_of(server, agent="agent"):
    room, worker = Room("agent"), Room("avatar")
    room.join(worker)
    worker.join(room)
    task = asyncio.create_task(run_avatar_worker(worker, url=server.url, agent=agent))
    while "lk.audio_stream" not in worker.byte_handlers:
        await asyncio.sleep(0.05)
        assert not task.done(), task.exception()
    return room, worker, task


def test_the_worker_ends_when_the_agent_leaves_or_the_room_is_left():
    async def body(server):
        # Without a name the first agent in the room is the one.
        for leaves, agent in (("agent", None), ("worker", "agent")):
            room, worker, task = await worker_of(server, agent)
            await {"agent": room, "worker": worker}[leaves].disconnect()
            await asyncio.wait_for(task, 5)
            assert server.commands[-1] == "close"

    run_with_server(body)


def test_the_worker_says_so_when_the_server_ends_the_session():
    async def body(server):
        for reason in ("draining", None):
            room, worker, task = await worker_of(server)
            await server.end(reason)
            with pytest.raises(AvatarError, match=reason or "connection lost"):
                await asyncio.wait_for(task, 5)

    run_with_server(body)


class Joined(AvatarSession):
    """A session whose worker joins the room in memory."""

    def __init__(self, room, **kwargs):
        super().__init__(**kwargs)
        self.room, self.asked = room, None

    async def _join(self, url, token):
        self.asked = url, token
        worker = Room(self.avatar_identity)
        self.room.join(worker)
        worker.join(self.room)
        self.worker = worker
        return worker


def test_an_agents_session_speaks_through_the_avatar():
    async def body(server):
        room = Room("agent")
        avatar = Joined(room, url=server.url, avatar="iris")
        session = AgentSession()
        metrics = []
        avatar.on("metrics_collected", metrics.append)
        keys = {"livekit_url": "ws://livekit", "livekit_api_key": "key", "livekit_api_secret": "s" * 32}
        await avatar.start(session, room, **keys)
        claims = api.TokenVerifier("key", "s" * 32).verify(avatar.asked[1])
        assert avatar.asked[0] == "ws://livekit" and claims.identity == "livetalk-avatar" and claims.kind == "agent"
        assert claims.attributes == {"lk.publish_on_behalf": "agent"} and claims.video.room == "room"
        await avatar.wait_for_join(timeout=10)
        assert metrics[0].metadata.model_provider == "livetalk"

        output = session.output.audio
        started = []
        output.on("playback_started", started.append)
        await say(output, 1.0)
        done = await asyncio.wait_for(output.wait_for_playout(), 10)
        assert not done.interrupted and abs(done.playback_position - 1.0) < 0.07, done
        assert len(started) == 1
        await avatar.aclose()
        assert not avatar.worker.isconnected() and server.commands[-1] == "close"

    run_with_server(body)


def test_an_avatar_without_livekits_keys_is_refused_in_a_sentence(monkeypatch):
    for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"):
        monkeypatch.delenv(name, raising=False)

    async def body(server):
        with pytest.raises(AvatarError, match="set LIVEKIT_URL"):
            await AvatarSession(url=server.url).start(AgentSession(), Room("agent"))

    run_with_server(body)
