"""An agent in a room over LiveKit's own client, which speaks through an avatar as livekit-agents' `DataStreamAudioOutput` does.

It says one segment, then one that it interrupts, and prints what it was told.

    livekit_agent.py URL TOKEN
"""

import asyncio
import json
import os
import sys
import time
import uuid

import numpy as np
from livekit import rtc

AVATAR, RATE = "avatar-1", 24_000


async def main():
    url, token = sys.argv[1:]
    room, faults = rtc.Room(), []
    started, finished = [], []
    changed = asyncio.Event()
    await room.connect(url, token)

    @room.local_participant.register_rpc_method("lk.playback_started")
    async def playback_started(data):
        started.append(time.time())
        changed.set()
        return "ok"

    @room.local_participant.register_rpc_method("lk.playback_finished")
    async def playback_finished(data):
        if data.caller_identity != AVATAR:
            return "reject"
        finished.append({"at": time.time(), **json.loads(data.payload)})
        changed.set()
        return "ok"

    async def until(condition, seconds, what):
        deadline = time.time() + seconds
        while not condition():
            if time.time() > deadline:
                faults.append(f"waited in vain for {what}")
                return
            changed.clear()
            try:
                await asyncio.wait_for(changed.wait(), 0.1)
            except asyncio.TimeoutError:
                pass

    async def speak(seconds):
        writer = await room.local_participant.stream_bytes(
            name=f"AUDIO_{uuid.uuid4().hex[:12]}", topic="lk.audio_stream", destination_identities=[AVATAR],
            attributes={"sample_rate": str(RATE), "num_channels": "1"})
        t = np.arange(int(seconds * RATE)) / RATE
        pcm = (0.5 * 32767 * np.sin(2 * np.pi * 300 * t)).astype("<i2").tobytes()
        # As speech synthesis gives it out: pieces of 20 ms, faster than they are spoken.
        for place in range(0, len(pcm), RATE // 50 * 2):
            await writer.write(pcm[place : place + RATE // 50 * 2])
        await writer.aclose()

    await until(lambda: AVATAR in room.remote_participants, 10, "the avatar")
    avatar = room.remote_participants[AVATAR]
    await until(lambda: len(avatar.track_publications) == 2, 10, "the avatar's tracks")
    await speak(2)
    await until(lambda: len(finished) == 1, 10, "the end of the first segment")
    await speak(8)
    await until(lambda: len(started) == 2, 10, "the beginning of the second segment")
    await asyncio.sleep(1)
    heard = time.time() - started[1]
    answer = await room.local_participant.perform_rpc(destination_identity=AVATAR, method="lk.clear_buffer", payload="")
    await until(lambda: len(finished) == 2, 5, "the end of the second segment")
    await asyncio.sleep(0.5)
    print(json.dumps({"started": started, "finished": finished, "answer": answer, "heard": heard, "faults": faults}), flush=True)
    await room.disconnect()
    # Its core's threads would go on.
    os._exit(0)


asyncio.run(main())
