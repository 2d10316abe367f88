import asyncio

from pipecat.frames.frames import (
    InterruptionFrame,
    OutputImageRawFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.tests.utils import SleepFrame, run_test

from conftest import run_with_server, speech
from livetalk_avatar.pipecat import LiveTalkVideoService


def audio(seconds, level=8000):
    return TTSAudioRawFrame(audio=speech(seconds, level), sample_rate=16000, num_channels=1)


def test_speech_goes_on_as_the_avatars_own_with_pictures():
    async def body(server):
        service = LiveTalkVideoService(url=server.url, avatar="iris")
        down, _ = await run_test(
            service, frames_to_send=[TTSStartedFrame(), audio(1.0), TTSStoppedFrame(), SleepFrame(sleep=2.0)])
        heard = b"".join(frame.audio for frame in down if isinstance(frame, TTSAudioRawFrame))
        images = [frame for frame in down if isinstance(frame, OutputImageRawFrame)]
        assert heard == speech(1.0), f"{len(heard)} bytes"
        assert len(images) >= 16 and images[0].size == (64, 48)
        kinds = [type(frame) for frame in down if isinstance(frame, (TTSStartedFrame, TTSStoppedFrame))]
        assert kinds == [TTSStartedFrame, TTSStoppedFrame]

    run_with_server(body)


def test_an_interruption_stops_the_avatar():
    async def body(server):
        service = LiveTalkVideoService(url=server.url)
        down, _ = await run_test(
            service,
            frames_to_send=[audio(3.0), SleepFrame(sleep=0.6), InterruptionFrame(), SleepFrame(sleep=0.5), audio(0.5, 100),
                            TTSStoppedFrame(), SleepFrame(sleep=1.2)])
        at = next(i for i, frame in enumerate(down) if isinstance(frame, InterruptionFrame))
        before = b"".join(frame.audio for frame in down[:at] if isinstance(frame, TTSAudioRawFrame))
        after = b"".join(frame.audio for frame in down[at:] if isinstance(frame, TTSAudioRawFrame))
        assert 0 < len(before) < len(speech(1.0))
        assert after == speech(0.5, 100)
        assert "interrupt" in server.commands

    run_with_server(body)
