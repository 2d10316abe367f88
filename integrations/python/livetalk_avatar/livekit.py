"""A LiveTalk avatar as a LiveKit avatar worker.

The agent's speech comes as byte streams `lk.audio_stream`, one for each segment; `lk.clear_buffer` interrupts; `lk.playback_started` and
`lk.playback_finished` tell what was really played. livekit-agents speaks this protocol; here is what makes the pictures.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from livekit import rtc
from livekit.agents.voice.avatar import (
    AudioSegmentEnd,
    AvatarOptions,
    AvatarRunner,
    DataStreamAudioReceiver,
    VideoGenerator,
)

from .client import Avatar, Frame, mono


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
        async for item in self._avatar:
            if not isinstance(item, Frame):
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


async def run_avatar_worker(
    room: rtc.Room, *, url: str, token: str | None = None, avatar: str | None = None, prompt: str | None = None,
    agent: str | None = None,
) -> None:
    """Speaks for an agent in a room that was joined, until either ends.

    The worker joins with a token of kind `agent` and the attribute `lk.publish_on_behalf`, the identity of the agent.

    agent: the identity whose speech it is; that of the first agent in the room if None.
    """
    async with Avatar(url, token=token, avatar=avatar, prompt=prompt) as session:
        generator = LiveTalkVideoGenerator(session)
        runner = AvatarRunner(
            room, audio_recv=DataStreamAudioReceiver(room, sender_identity=agent), video_gen=generator,
            options=generator.options)
        await runner.start()
        try:
            await runner.wait_for_complete()
        finally:
            await asyncio.shield(runner.aclose())
