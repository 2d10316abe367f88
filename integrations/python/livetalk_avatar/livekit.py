"""A LiveTalk avatar as a LiveKit avatar worker.

The agent's speech comes as byte streams `lk.audio_stream`, one for each segment; `lk.clear_buffer` interrupts; `lk.playback_started` and
`lk.playback_finished` tell what was really played. livekit-agents speaks this protocol; here is what makes the pictures.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator

from livekit import api, rtc
from livekit.agents import AgentSession, get_job_context, utils
from livekit.agents.voice.avatar import (
    AudioSegmentEnd,
    AvatarOptions,
    AvatarRunner,
    AvatarSession as BaseAvatarSession,
    DataStreamAudioOutput,
    DataStreamAudioReceiver,
    VideoGenerator,
)
from livekit.agents.voice.room_io import ATTRIBUTE_PUBLISH_ON_BEHALF

from .client import Avatar, AvatarError, Frame, mono

logger = logging.getLogger("livetalk_avatar")


class LiveTalkVideoGenerator(VideoGenerator):
    """Speech in, pictures with that speech out, and the end of each segment once."""

    def __init__(self, avatar: Avatar):
        self._avatar = avatar
        self._utterance = 0
        self._dropped = 0

    @property
    def options(self) -> AvatarOptions:
        form = self._avatar.format
        return AvatarOptions(
            video_width=form.width, video_height=form.height, video_fps=form.frames_per_second,
            audio_sample_rate=form.sample_rate, audio_channels=1)

    async def push_audio(self, frame: rtc.AudioFrame | AudioSegmentEnd) -> None:
        if isinstance(frame, AudioSegmentEnd):
            await self._avatar.end_of_speech()
            return
        await self._avatar.speak(mono(bytes(frame.data), frame.num_channels), frame.sample_rate)

    async def clear_buffer(self) -> None:
        # The end of what is interrupted is told by who interrupts: it is not to come twice.
        self._dropped = max(self._dropped, self._utterance)
        self._utterance = 0
        await self._avatar.interrupt()

    async def __aiter__(self) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd]:
        rate = self._avatar.format.sample_rate
        reason = "connection lost"
        async for item in self._avatar:
            if not isinstance(item, Frame):
                if item.get("type") == "closed":
                    reason = item.get("reason")
                continue
            utterance = item.utterance if item.utterance > self._dropped else 0
            if self._utterance and utterance != self._utterance:
                yield AudioSegmentEnd()
            self._utterance = utterance
            pixels, width, height = item.rgb()
            yield rtc.VideoFrame(width, height, rtc.VideoBufferType.RGB24, pixels)
            # Silence between segments is nobody's speech: the runner counts what it is given as played.
            if utterance and item.sound:
                yield rtc.AudioFrame(item.sound, rate, 1, len(item.sound) // 2)
        # The runner would go on listening, for nobody.
        raise AvatarError(f"The LiveTalk session is over: {reason}.")


async def run_avatar_worker(
    room: rtc.Room, *, url: str, token: str | None = None, avatar: str | None = None, prompt: str | None = None,
    agent: str | None = None,
) -> None:
    """Speaks for an agent in a room that was joined, until the agent leaves or the room is left.

    The worker joins with a token of kind `agent` and the attribute `lk.publish_on_behalf`, the identity of the agent. `AvatarSession` does so.

    agent: the identity whose speech it is; that of the first agent in the room if None.

    Raises AvatarError where the LiveTalk server ends the session.
    """
    loop = asyncio.get_running_loop()
    left = loop.create_future()

    def leave(*_: object) -> None:
        if not left.done():
            left.set_result(None)

    def gone(participant: rtc.RemoteParticipant) -> None:
        if participant.identity == speaker.identity:
            leave()

    if agent is None:
        speaker = await utils.wait_for_participant(room=room, kind=rtc.ParticipantKind.PARTICIPANT_KIND_AGENT)
    else:
        speaker = await utils.wait_for_participant(room=room, identity=agent)
    room.on("disconnected", leave)
    room.on("participant_disconnected", gone)
    try:
        async with Avatar(url, token=token, avatar=avatar, prompt=prompt) as session:
            generator = LiveTalkVideoGenerator(session)
            runner = AvatarRunner(
                room, audio_recv=DataStreamAudioReceiver(room, sender_identity=speaker.identity), video_gen=generator,
                options=generator.options)
            await runner.start()
            running = asyncio.ensure_future(runner.wait_for_complete())
            try:
                await asyncio.wait({running, left}, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    running.result()
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await asyncio.shield(runner.aclose())
    finally:
        room.off("disconnected", leave)
        room.off("participant_disconnected", gone)


class AvatarSession(BaseAvatarSession):
    """A LiveTalk avatar for an agent, as LiveKit's other avatar plugins are used:

    avatar = AvatarSession(url="http://127.0.0.1:8080", avatar="iris")
    await avatar.start(session, room=ctx.room)
    await session.start(agent=..., room=ctx.room)

    The worker runs in the agent's process, over a connection of its own to the room.
    """

    def __init__(
        self, *, url: str | None = None, token: str | None = None, avatar: str | None = None, prompt: str | None = None,
        avatar_participant_identity: str = "livetalk-avatar", avatar_participant_name: str = "LiveTalk avatar",
    ):
        """url, token: of the LiveTalk server; LIVETALK_URL and LIVETALK_TOKEN if None."""
        super().__init__()
        self._url = url or os.getenv("LIVETALK_URL") or "http://127.0.0.1:8080"
        self._token = token or os.getenv("LIVETALK_TOKEN") or None
        self._avatar, self._prompt = avatar, prompt
        self._identity, self._name = avatar_participant_identity, avatar_participant_name
        self._worker_room: rtc.Room | None = None
        self._worker: asyncio.Task[None] | None = None

    @property
    def avatar_identity(self) -> str:
        return self._identity

    @property
    def provider(self) -> str:
        return "livetalk"

    async def start(
        self, agent_session: AgentSession, room: rtc.Room, *, livekit_url: str | None = None,
        livekit_api_key: str | None = None, livekit_api_secret: str | None = None,
    ) -> None:
        """Joins the room as the avatar, and sends the agent's speech there.

        livekit_…: from LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET if None.

        Raises AvatarError where one of these is missing.
        """
        url = livekit_url or os.getenv("LIVEKIT_URL")
        key = livekit_api_key or os.getenv("LIVEKIT_API_KEY")
        secret = livekit_api_secret or os.getenv("LIVEKIT_API_SECRET")
        if not url or not key or not secret:
            raise AvatarError("LiveKit's address and keys are missing: set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET.")
        await super().start(agent_session, room)
        context = get_job_context(required=False)
        agent = context.local_participant_identity if context else room.local_participant.identity
        token = (
            api.AccessToken(key, secret)
            .with_kind("agent")
            .with_identity(self._identity)
            .with_name(self._name)
            .with_grants(api.VideoGrants(room_join=True, room=room.name))
            .with_attributes({ATTRIBUTE_PUBLISH_ON_BEHALF: agent})
            .to_jwt()
        )
        self._worker_room = await self._join(url, token)
        self._worker = asyncio.create_task(self._run(self._worker_room, agent))
        agent_session.output.replace_audio_tail(
            DataStreamAudioOutput(room, destination_identity=self._identity, wait_playback_start=True))

    async def _join(self, url: str, token: str) -> rtc.Room:
        room = rtc.Room()
        await room.connect(url, token)
        return room

    async def _run(self, room: rtc.Room, agent: str) -> None:
        try:
            await run_avatar_worker(
                room, url=self._url, token=self._token, avatar=self._avatar, prompt=self._prompt, agent=agent)
        except AvatarError as error:
            logger.error(f"The avatar has left: {error}")
        finally:
            # An avatar that shows nothing does not stay: who listens sees that it is gone.
            await asyncio.shield(room.disconnect())

    async def aclose(self) -> None:
        """Ends the worker; called when the job ends."""
        if self._worker:
            await utils.aio.cancel_and_wait(self._worker)
            self._worker = None
        self._worker_room = None
        await super().aclose()
