import pytest

from conftest import run_with_server, speech
from livetalk_avatar import Avatar, AvatarError, Frame


def test_speech_comes_back_with_pictures():
    async def body(server):
        async with Avatar(server.url, token="secret", avatar="iris") as avatar:
            assert (avatar.format.width, avatar.format.height) == (64, 48)
            await avatar.speak(speech(1.0), 16000)
            await avatar.end_of_speech()
            heard = b""
            async for item in avatar:
                if not isinstance(item, Frame):
                    continue
                if item.utterance:
                    heard += item.sound
                    pixels, width, height = item.rgb()
                    assert len(pixels) == width * height * 3 and pixels[0] > 150 > pixels[1]
                elif heard:
                    break
            assert heard == speech(1.0)
        assert server.tokens == ["Bearer secret"]
        assert server.commands[-1] == "close"

    run_with_server(body)


def test_an_interruption_forgets_what_waits():
    async def body(server):
        async with Avatar(server.url) as avatar:
            await avatar.speak(speech(2.0), 16000)
            await avatar.interrupt()
            await avatar.speak(speech(0.5, 100), 16000)
            await avatar.end_of_speech()
            heard = b""
            async for item in avatar:
                if isinstance(item, Frame) and item.utterance == 2:
                    heard += item.sound
                elif heard:
                    break
            assert heard == speech(0.5, 100)

    run_with_server(body)


def test_what_the_server_refuses_is_said():
    async def body(server):
        with pytest.raises(AvatarError, match="no avatar called nobody"):
            async with Avatar(server.url, avatar="nobody"):
                pass
        with pytest.raises(AvatarError, match="no LiveTalk server"):
            async with Avatar("http://127.0.0.1:9"):
                pass

    run_with_server(body)
