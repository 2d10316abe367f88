"""A WebRTC client that is not ours (aiortc), driven by the tests over lines of JSON.

It prints its offer, reads the answer, runs for some seconds, and prints what it saw and heard. Pictures carry their number: 16 squares
along the top are its bits, white for one, and those of the row below the opposite; without that a picture is damaged and has the number
-1. The middle of a picture with a click is white.

With the role `answerer` it is the other way round: it reads the offer and prints its answer. With --whep it is a player of that
endpoint, whose own offer is refused: it takes the server's from that reply, and sends its answer by PATCH.

    aiortc_client.py --role conversation --seconds 4 [--codec h264] [--relay turn:host:port] [--close-after S] [--loss]
"""

import argparse
import asyncio
import json
import math
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from fractions import Fraction

import numpy as np
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError
from av import AudioFrame

from relay import LossyRelay


def say(**fields):
    print(json.dumps(fields), flush=True)


def now_ms():
    return time.time() * 1000


class Tone(AudioStreamTrack):
    """A microphone that hears 440 Hz."""

    rate, samples = 48000, 960

    def __init__(self):
        super().__init__()
        self.place, self.start = 0, None

    async def recv(self):
        if self.start is None:
            self.start = time.time()
        wait = self.start + self.place / self.rate - time.time()
        if wait > 0:
            await asyncio.sleep(wait)
        t = (self.place + np.arange(self.samples)) / self.rate
        wave = (0.3 * 32767 * np.sin(2 * math.pi * 440 * t)).astype(np.int16)
        frame = AudioFrame.from_ndarray(wave[None, :], format="s16", layout="mono")
        frame.pts, frame.sample_rate, frame.time_base = self.place, self.rate, Fraction(1, self.rate)
        self.place += self.samples
        return frame


def picture_number(image):
    """Of a grey picture: the bits along its top, and whether its middle is white."""
    width = image.shape[1] // 16

    def bits(row):
        squares = (image[row * width + 2 : (row + 1) * width - 2, bit * width + 2 : (bit + 1) * width - 2] for bit in range(16))
        return sum(int(square.mean() > 128) << bit for bit, square in enumerate(squares))

    number = bits(0) if bits(0) ^ bits(1) == 0xFFFF else -1
    middle = image[image.shape[0] // 2 - 8 : image.shape[0] // 2 + 8, image.shape[1] // 2 - 8 : image.shape[1] // 2 + 8]
    return number, bool(middle.mean() > 128)


async def watch(track, seen):
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        number, white = picture_number(frame.to_ndarray(format="gray"))
        seen.append([number, now_ms(), float(frame.pts * frame.time_base), white])


async def listen(track, heard):
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        wave = frame.to_ndarray().reshape(-1).astype(np.float32)
        if frame.layout.nb_channels == 2:
            wave = wave[::2]
        step, first, arrived = frame.sample_rate // 200, float(frame.pts * frame.time_base), now_ms()
        for place in range(0, len(wave), step):
            loud = float(np.sqrt(np.mean((wave[place : place + step] / 32768) ** 2)))
            heard.append([first + place / frame.sample_rate, loud, arrived])


def exchange(method, url, description):
    """Sends a session description; returns the reply's status, headers and text."""
    request = urllib.request.Request(url, description.encode(), {"Content-Type": "application/sdp"}, method=method)
    try:
        reply = urllib.request.urlopen(request, timeout=10)
    except urllib.error.HTTPError as error:
        reply = error
    return reply.status, reply.headers, reply.read().decode()


async def refused(url):
    """Offers what no viewer has, a microphone and a data channel; returns the server's offer and where the answer goes."""
    connection = RTCPeerConnection()
    connection.createDataChannel("events")
    connection.addTransceiver("audio", direction="sendrecv")
    await connection.setLocalDescription(await connection.createOffer())
    status, headers, text = await asyncio.to_thread(exchange, "POST", url, connection.localDescription.sdp)
    await connection.close()
    if status != 406:
        sys.exit(f"the offer was answered with {status}: {text}")
    return text, urllib.parse.urljoin(url, headers["Location"])


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--role", default="conversation")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--codec", default="vp8")
    parser.add_argument("--whep", metavar="URL")
    parser.add_argument("--relay")
    parser.add_argument("--close-after", type=float)
    parser.add_argument("--loss", action="store_true", help="of one packet in twenty")
    parser.add_argument("--times", type=int, default=1, help="connect so many times, one after the other")
    arguments = parser.parse_args()
    for _ in range(arguments.times):
        await connect(arguments)


async def connect(arguments):
    servers = []
    if arguments.relay:
        servers = [RTCIceServer(urls=arguments.relay, username="user", credential="password")]
    connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
    seen, heard, texts, states = [], [], [], []
    tasks = []

    @connection.on("track")
    def on_track(track):
        tasks.append(asyncio.ensure_future(watch(track, seen) if track.kind == "video" else listen(track, heard)))

    @connection.on("connectionstatechange")
    def on_state():
        states.append(connection.connectionState)

    channel = None
    if arguments.role == "conversation":
        channel = connection.createDataChannel("events")

        @channel.on("open")
        def on_open():
            channel.send(json.dumps({"type": "hello", "sent": now_ms()}))

        @channel.on("message")
        def on_message(text):
            texts.append([text, now_ms()])

    loop = asyncio.get_running_loop()
    if arguments.role == "answerer":
        if arguments.whep:
            offer, location = await refused(arguments.whep)
        else:
            offer = json.loads(await loop.run_in_executor(None, sys.stdin.readline))["answer"]
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        answer = connection.localDescription.sdp
        if arguments.whep:
            status, _, text = await asyncio.to_thread(exchange, "PATCH", location, answer)
            if status != 204:
                sys.exit(f"the answer was taken with {status}: {text}")
        else:
            say(offer=answer)
        await report(arguments, connection, None, seen, heard, texts, states)
        return

    if arguments.role in ("conversation", "microphone"):
        direction = "sendrecv" if arguments.role == "conversation" else "sendonly"
        connection.addTransceiver(Tone(), direction=direction)
    else:
        connection.addTransceiver("audio", direction="recvonly")
    if arguments.role != "microphone":
        video = connection.addTransceiver("video", direction="recvonly")
        codecs = RTCRtpReceiver.getCapabilities("video").codecs
        mime = {"vp8": "video/VP8", "h264": "video/H264"}[arguments.codec]
        video.setCodecPreferences([codec for codec in codecs if codec.mimeType in (mime, "video/rtx")])

    await connection.setLocalDescription(await connection.createOffer())
    offer = connection.localDescription.sdp
    if arguments.relay:
        # aiortc cannot be told to relay only: its other candidates are left out.
        offer = "".join(line for line in offer.splitlines(True) if "a=candidate" not in line or "typ relay" in line)
    relay = LossyRelay() if arguments.loss else None
    say(offer=relay.without_candidates(offer) if relay else offer)
    answer = json.loads(await loop.run_in_executor(None, sys.stdin.readline))["answer"]
    if relay:
        answer = relay.stand_before(answer)
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await report(arguments, connection, relay, seen, heard, texts, states)


async def report(arguments, connection, relay, seen, heard, texts, states):
    if arguments.close_after:
        await asyncio.sleep(arguments.close_after)
        say(closing=now_ms())
        # As a killed browser does: nothing says goodbye.
        os._exit(0)
    await asyncio.sleep(arguments.seconds)
    seen = list(seen)
    if relay:
        # Sound is behind the pictures by what waits for lost packets: that of the last picture is heard, too.
        await asyncio.sleep(0.5)
    lost = {}
    for report in (await connection.getStats()).values():
        if report.type == "inbound-rtp":
            lost[report.kind] = [report.packetsLost, report.packetsReceived]
    if relay:
        lost["relay"] = [relay.dropped, relay.carried]
    say(seen=seen, heard=heard, texts=texts, states=states, lost=lost)
    await connection.close()


asyncio.run(main())
