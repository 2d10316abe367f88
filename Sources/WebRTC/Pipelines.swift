/// Pipelines in GStreamer's own language. Times and sizes in them were measured: see docs/decisions.
enum Pipelines {
  private static let source = "is-live=true format=time max-bytes=0"

  /// Who asks for key pictures gets them at once; this is for those who do not ask.
  private static let keyFrameSeconds = 4

  /// RGB8 pictures to encoded ones. An encoder that is too slow loses the oldest.
  static func video(_ codec: VideoCodec, format: LiveStream.Settings) -> String {
    let raw =
      "video/x-raw,format=RGB,width=\(format.width),height=\(format.height),framerate=\(format.framesPerSecond)/1"
    let interval = format.framesPerSecond * keyFrameSeconds
    let encoder =
      switch codec {
      case .vp8:
        """
        vp8enc name=encoder deadline=1 cpu-used=8 threads=1 lag-in-frames=0 end-usage=cbr \
        target-bitrate=\(format.videoBitrate) keyframe-max-dist=\(interval)
        """
      case .h264:
        """
        x264enc name=encoder tune=zerolatency speed-preset=veryfast bframes=0 rc-lookahead=0 threads=1 \
        bitrate=\(format.videoBitrate / 1000) key-int-max=\(interval) \
        ! video/x-h264,profile=constrained-baseline,stream-format=byte-stream,alignment=au
        """
      }
    return """
      appsrc name=source0 \(source) max-buffers=2 leaky-type=downstream caps="\(raw)" \
      ! videoconvert ! video/x-raw,format=I420,colorimetry=bt601 ! \(encoder) ! appsink name=sink0 sync=false max-buffers=8
      """
  }

  /// 16-bit mono sound to Opus, with what a receiver needs to restore a lost packet.
  static func sound(format: LiveStream.Settings) -> String {
    """
    appsrc name=source0 \(source) max-buffers=10 leaky-type=downstream \
    caps="audio/x-raw,format=S16LE,rate=\(format.sampleRate),channels=1,layout=interleaved" \
    ! audioresample ! audio/x-raw,rate=(int){48000,24000,16000,12000,8000} \
    ! opusenc frame-size=20 audio-type=voice bitrate=\(format.soundBitrate) inband-fec=true packet-loss-percentage=5 \
    ! appsink name=sink0 sync=false max-buffers=50
    """
  }

  /// Where received sound comes out: mono Float32.
  static let microphoneRate = 16_000

  static let microphone = """
    rtpopusdepay ! opusdec plc=true use-inband-fec=true ! audioconvert ! audioresample \
    ! audio/x-raw,format=F32LE,rate=\(microphoneRate),channels=1 \
    ! appsink name=sink1 sync=false max-buffers=50 drop=true
    """

  static func receiveOnlyCaps(_ opus: PayloadType) -> String {
    "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,payload=\(opus.number)"
  }

  /// Encoded pictures and sound to a connection.
  static func peer(_ offer: Offer, settings: PeerSettings) -> String {
    var parts = ["webrtcbin name=webrtc bundle-policy=max-bundle latency=20"]
    // Pads get the order in which they are named here; sources are numbered as pads are.
    var number = 0
    if let video = offer.video {
      let ssrc = UInt32.random(in: 1...UInt32.max)
      let (caps, payloader, name) =
        switch video.codec {
        case .vp8: ("video/x-vp8", "rtpvp8pay picture-id-mode=15-bit", "VP8")
        case .h264:
          (
            "video/x-h264,stream-format=byte-stream,alignment=au",
            "rtph264pay config-interval=-1 aggregate-mode=zero-latency", "H264"
          )
        }
      parts.append(
        """
        appsrc name=source\(number) \(source) max-buffers=60 leaky-type=downstream caps="\(caps)" \
        ! \(payloader) mtu=1200 pt=\(video.payloadType.number) ssrc=\(ssrc) \
        ! application/x-rtp,media=video,encoding-name=\(name),clock-rate=90000,payload=\(video.payloadType.number),ssrc=(uint)\(ssrc) \
        ! webrtc.
        """)
      number += 1
    }
    if let sound = offer.sound {
      // Opus counts as two channels always (RFC 7587), which the payloader says only once it has caps: an offer may be made before, and
      // one of "OPUS/48000" is none that browsers know.
      let ssrc = UInt32.random(in: 1...UInt32.max)
      parts.append(
        """
        appsrc name=source\(number) \(source) max-buffers=60 leaky-type=downstream \
        caps="audio/x-opus,channel-mapping-family=0,channels=1,rate=48000" \
        ! rtpopuspay mtu=1200 pt=\(sound.number) ssrc=\(ssrc) \
        ! application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,encoding-params=(string)2,payload=\(sound.number),ssrc=(uint)\(ssrc) \
        ! webrtc.
        """)
    }
    return parts.joined(separator: " ")
  }
}
