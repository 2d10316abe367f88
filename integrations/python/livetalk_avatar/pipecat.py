"""A LiveTalk avatar as a pipecat service: it takes what text-to-speech makes and gives pictures with that sound."""

from __future__ import annotations

from loguru import logger
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputImageRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.ai_service import AIService

from .client import Avatar, AvatarError, Frame as AvatarFrame, mono


class LiveTalkVideoService(AIService):
    """Stands after a text-to-speech service and before the transport's output.

    Speech goes to the avatar and not further: what goes further is the avatar's own sound, in step with its pictures. `TTSStartedFrame` and
    `TTSStoppedFrame` go on when the avatar begins and ends to say it.
    """

    def __init__(self, *, url: str, token: str | None = None, avatar: str | None = None, prompt: str | None = None, **kwargs):
        super().__init__(**kwargs)
        self._avatar = Avatar(url, token=token, avatar=avatar, prompt=prompt)
        self._reading = None
        self._is_open = False
        # Utterances up to this one were interrupted: their frames that are still on the way are not wanted.
        self._dropped = 0
        self._utterance = 0

    async def start(self, frame: StartFrame):
        await super().start(frame)
        try:
            await self._avatar.__aenter__()
            self._is_open = True
            self._reading = self.create_task(self._read())
        except AvatarError as error:
            await self.push_error(error_msg=str(error), exception=error)

    async def stop(self, frame: EndFrame):
        await super().stop(frame)
        await self._close()

    async def cancel(self, frame: CancelFrame):
        await super().cancel(frame)
        await self._close()

    async def _close(self):
        if self._reading:
            await self.cancel_task(self._reading)
            self._reading = None
        if self._is_open:
            self._is_open = False
            await self._avatar.close()

    async def process_frame(self, frame: Frame, direction: FrameDirection):
        await super().process_frame(frame, direction)
        try:
            if not self._is_open:
                pass
            elif isinstance(frame, TTSAudioRawFrame):
                await self._avatar.speak(mono(frame.audio, frame.num_channels), frame.sample_rate)
                return
            elif isinstance(frame, TTSStartedFrame):
                return
            elif isinstance(frame, TTSStoppedFrame):
                await self._avatar.end_of_speech()
                return
            elif isinstance(frame, InterruptionFrame):
                self._dropped = max(self._dropped, self._utterance)
                self._utterance = 0
                await self._avatar.interrupt()
        except AvatarError as error:
            self._is_open = False
            await self.push_error(error_msg=str(error), exception=error)
        await self.push_frame(frame, direction)

    async def _read(self):
        rate = self._avatar.format.sample_rate
        async for item in self._avatar:
            if isinstance(item, AvatarFrame):
                await self._show(item, rate)
            elif item.get("type") == "error":
                logger.warning(f"{self}: {item['error'].get('message')}")
            elif item.get("type") == "closed":
                self._is_open = False
                await self.push_error(error_msg=f"The LiveTalk session is over: {item.get('reason')}.")

    async def _show(self, frame: AvatarFrame, rate: int):
        utterance = frame.utterance if frame.utterance > self._dropped else 0
        if utterance != self._utterance:
            if self._utterance:
                await self.push_frame(TTSStoppedFrame())
            if utterance:
                await self.push_frame(TTSStartedFrame())
            self._utterance = utterance
        if utterance:
            await self.push_frame(TTSAudioRawFrame(audio=frame.sound, sample_rate=rate, num_channels=1))
        pixels, width, height = frame.rgb()
        image = OutputImageRawFrame(image=pixels, size=(width, height), format="RGB")
        image.pts = frame.sample * 1_000_000_000 // rate
        await self.push_frame(image)
