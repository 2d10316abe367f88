import Foundation
import Testing

@testable import LiveKit

struct LiveKitServerTests {
  @Test(arguments: [
    ("wss://live.example.org", "wss://live.example.org"), ("https://Live.Example.org/", "wss://live.example.org"),
    ("wss://live.example.org:443", "wss://live.example.org"), ("http://127.0.0.1:7880", "ws://127.0.0.1:7880"),
    ("ws://localhost:80/", "ws://localhost"), ("wss://example.org/live/", "wss://example.org/live"),
    ("WSS://example.org", "wss://example.org"),
  ])
  func `addresses are one where they mean one`(_ text: String, _ url: String) throws {
    #expect(try LiveKitServer(text).description == url)
    #expect(try LiveKitServer(text) == LiveKitServer(url))
  }

  @Test(arguments: [
    "", "live.example.org", "ftp://example.org", "wss://", "wss://user:secret@example.org", "wss://example.org?a=b",
    "wss://example.org#a", "file:///etc/passwd", "wss://ex ample.org",
  ])
  func `what is no address of a LiveKit server is refused`(_ text: String) {
    #expect { try LiveKitServer(text) } throws: { ($0 as? LiveKitError)?.reason == .badAddress }
  }

  @Test func `signalling asks for no media of others`() throws {
    let url = try LiveKitServer("wss://example.org/live").signalling.absoluteString
    #expect(url.hasPrefix("wss://example.org/live/rtc?"))
    #expect(url.contains("auto_subscribe=0") && url.contains("protocol=15") && !url.contains("token"))
  }
}
