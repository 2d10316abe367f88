"""Writes messages.json: LiveKit's messages as its own package (livekit-protocol on PyPI) encodes them, in hexadecimal.

    make_messages.py > messages.json
"""

import json

from livekit.protocol import models, rtc


def data(**fields):
    return models.DataPacket(destination_identities=["agent"], sequence=3, **fields)


def from_agent(**fields):
    # With what a server adds, and fields that are not read here.
    return models.DataPacket(participant_identity="agent", participant_sid="PA_1", destination_identities=["avatar"], **fields)


messages = {
    # What is sent.
    "offer": rtc.SignalRequest(offer=rtc.SessionDescription(type="offer", sdp="v=0\r\n", id=1)),
    "answer": rtc.SignalRequest(answer=rtc.SessionDescription(type="answer", sdp="v=0\r\n", id=7)),
    "add_track": rtc.SignalRequest(add_track=rtc.AddTrackRequest(
        cid="track", name="avatar_video", type=models.VIDEO, width=512, height=384, source=models.CAMERA,
        layers=[models.VideoLayer(quality=models.HIGH, width=512, height=384, bitrate=1_000_000)])),
    "add_sound": rtc.SignalRequest(add_track=rtc.AddTrackRequest(
        cid="track", name="avatar_audio", type=models.AUDIO, source=models.MICROPHONE, disable_red=True)),
    "leave": rtc.SignalRequest(leave=rtc.LeaveRequest(reason=models.CLIENT_INITIATED)),
    "ping": rtc.SignalRequest(ping=1_700_000_000_000),
    "ping_req": rtc.SignalRequest(ping_req=rtc.Ping(timestamp=1_700_000_000_000)),
    "rpc_request": data(rpc_request=models.RpcRequest(
        id="1", method="lk.playback_finished", payload="{}", response_timeout_ms=10_000, version=1)),
    "rpc_ack": data(rpc_ack=models.RpcAck(request_id="9")),
    "rpc_response": data(rpc_response=models.RpcResponse(request_id="9", payload="ok")),
    "rpc_error": data(rpc_response=models.RpcResponse(request_id="9", error=models.RpcError(code=1400, message="no"))),
    # What comes.
    "join": rtc.SignalResponse(join=rtc.JoinResponse(
        room=models.Room(sid="RM_1", name="room"),
        participant=models.ParticipantInfo(
            sid="PA_2", identity="avatar", kind=models.ParticipantInfo.AGENT, attributes={"lk.publish_on_behalf": "agent"}),
        other_participants=[models.ParticipantInfo(
            sid="PA_1", identity="agent", state=models.ParticipantInfo.ACTIVE, kind=models.ParticipantInfo.AGENT,
            tracks=[models.TrackInfo(sid="TR_1")])],
        ice_servers=[rtc.ICEServer(urls=["turn:turn.example.org:3478?transport=udp"], username="u:1", credential="p@ss")],
        subscriber_primary=True, alternative_url="", ping_timeout=15, ping_interval=5,
        server_info=models.ServerInfo(version="1.9.0"), enabled_publish_codecs=[models.Codec(mime="video/VP8")])),
    "server_offer": rtc.SignalResponse(offer=rtc.SessionDescription(type="offer", sdp="v=0\r\n", id=7)),
    "server_answer": rtc.SignalResponse(answer=rtc.SessionDescription(type="answer", sdp="v=0\r\n", id=1)),
    "trickle": rtc.SignalResponse(trickle=rtc.TrickleRequest(candidateInit='{"candidate":""}', target=rtc.SUBSCRIBER, final=True)),
    "update": rtc.SignalResponse(update=rtc.ParticipantUpdate(participants=[models.ParticipantInfo(
        identity="agent", state=models.ParticipantInfo.DISCONNECTED, disconnect_reason=models.CLIENT_INITIATED)])),
    "track_published": rtc.SignalResponse(track_published=rtc.TrackPublishedResponse(
        cid="track", track=models.TrackInfo(sid="TR_2", name="avatar_video"))),
    "refused": rtc.SignalResponse(request_response=rtc.RequestResponse(
        request_id=0, reason=rtc.RequestResponse.NOT_ALLOWED, message="no", add_track=rtc.AddTrackRequest(cid="track"))),
    "removed": rtc.SignalResponse(leave=rtc.LeaveRequest(
        reason=models.PARTICIPANT_REMOVED, action=rtc.LeaveRequest.DISCONNECT, regions=rtc.RegionSettings())),
    "speakers": rtc.SignalResponse(speakers_changed=rtc.SpeakersChanged(speakers=[models.SpeakerInfo(sid="PA_1", level=0.5)])),
    "stream_header": from_agent(stream_header=models.DataStream.Header(
        stream_id="AUDIO_1", timestamp=1_700_000_000_000, topic="lk.audio_stream", mime_type="application/octet-stream",
        total_length=4, attributes={"sample_rate": "24000"}, byte_header=models.DataStream.ByteHeader(name="AUDIO_1"))),
    "stream_chunk": from_agent(stream_chunk=models.DataStream.Chunk(stream_id="AUDIO_1", chunk_index=2, content=b"\x01\x02\xff\x7f")),
    "stream_trailer": from_agent(stream_trailer=models.DataStream.Trailer(stream_id="AUDIO_1", reason="", attributes={"a": "b"})),
    "clear": from_agent(rpc_request=models.RpcRequest(id="9", method="lk.clear_buffer", response_timeout_ms=15_000, version=1)),
    "user": from_agent(user=models.UserPacket(payload=b"hello", topic="chat")),
}
print(json.dumps({name: message.SerializeToString(deterministic=True).hex() for name, message in messages.items()}, indent=1))
