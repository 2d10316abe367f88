extension Offer {
  /// What a browser offers for a conversation, in short; to warm GStreamer up with.
  static let example: String = {
    let transport = """
      c=IN IP4 0.0.0.0
      a=rtcp-mux
      a=ice-ufrag:warm
      a=ice-pwd:warmwarmwarmwarmwarmwarm
      a=fingerprint:sha-256 \(Array(repeating: "00", count: 32).joined(separator: ":"))
      a=setup:actpass
      """
    let text = """
      v=0
      o=- 1 1 IN IP4 127.0.0.1
      s=-
      t=0 0
      a=group:BUNDLE 0 1 2
      m=audio 9 UDP/TLS/RTP/SAVPF 111
      \(transport)
      a=mid:0
      a=sendrecv
      a=rtpmap:111 opus/48000/2
      m=video 9 UDP/TLS/RTP/SAVPF 96
      \(transport)
      a=mid:1
      a=recvonly
      a=rtpmap:96 VP8/90000
      m=application 9 UDP/DTLS/SCTP webrtc-datachannel
      \(transport)
      a=mid:2
      a=sctp-port:5000

      """
    return text.split(separator: "\n").joined(separator: "\r\n") + "\r\n"
  }()
}
