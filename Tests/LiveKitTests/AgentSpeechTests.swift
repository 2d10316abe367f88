import Session
import Testing

@testable import LiveKit

struct AgentSpeechTests {
  private static let mono = ["sample_rate": "24000", "num_channels": "1"]

  private func pulses(_ samples: [Int16]) -> [UInt8] {
    samples.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
  }

  private func sound(_ samples: [Int16], rate: Int = 24_000) -> PCM {
    PCM(samples.map { Float($0) / 32768 }, rate: rate)
  }

  @Test func `a segment is spoken as it comes and finished when it is closed`() {
    var speech = AgentSpeech()
    #expect(speech.open("a", attributes: Self.mono) == [])
    #expect(speech.take(pulses([1, -2]), chunk: 0, of: "a") == [.speak(sound([1, -2]))])
    #expect(speech.take(pulses([3]), chunk: 1, of: "a") == [.speak(sound([3]))])
    #expect(speech.close("a") == [.finish])
    #expect(speech.close("a") == [])
    #expect(speech.take(pulses([4]), chunk: 2, of: "a") == [], "it is closed")
  }

  @Test func `samples that chunks cut in two are put together`() {
    var speech = AgentSpeech()
    _ = speech.open("a", attributes: Self.mono)
    let bytes = pulses([258, -3, 1027])
    #expect(speech.take(Array(bytes[..<1]), chunk: 0, of: "a") == [])
    #expect(speech.take(Array(bytes[1..<5]), chunk: 1, of: "a") == [.speak(sound([258, -3]))])
    #expect(speech.take(Array(bytes[5...]), chunk: 2, of: "a") == [.speak(sound([1027]))])
  }

  @Test func `several channels are heard as their mean, also where a chunk ends between them`() {
    var speech = AgentSpeech()
    _ = speech.open("a", attributes: ["sample_rate": "48000", "num_channels": "2"])
    #expect(speech.take(pulses([100, 200, -50]), chunk: 0, of: "a") == [.speak(sound([150], rate: 48_000))])
    #expect(speech.take(pulses([50, 2, 4]), chunk: 1, of: "a") == [.speak(sound([0, 3], rate: 48_000))])
  }

  @Test func `a chunk that comes twice is heard once`() {
    var speech = AgentSpeech()
    _ = speech.open("a", attributes: Self.mono)
    #expect(speech.take(pulses([1]), chunk: 0, of: "a").count == 1)
    #expect(speech.take(pulses([1]), chunk: 0, of: "a") == [])
    #expect(speech.take(pulses([2]), chunk: 1, of: "a").count == 1)
  }

  @Test func `a segment that begins before the one under way is closed waits for its end`() {
    var speech = AgentSpeech()
    _ = speech.open("a", attributes: Self.mono)
    _ = speech.take(pulses([1]), chunk: 0, of: "a")
    #expect(speech.open("b", attributes: ["sample_rate": "16000", "num_channels": "1"]) == [])
    #expect(speech.take(pulses([10]), chunk: 0, of: "b") == [])
    #expect(speech.take(pulses([2]), chunk: 1, of: "a") == [.speak(sound([2]))])
    #expect(speech.close("b") == [])
    #expect(speech.close("a") == [.finish, .speak(sound([10], rate: 16_000)), .finish])
  }

  @Test func `a segment without sound is nothing`() {
    var speech = AgentSpeech()
    _ = speech.open("a", attributes: Self.mono)
    #expect(speech.close("a") == [])
  }

  @Test func `what still comes of a segment after the buffer was cleared is not spoken`() {
    var speech = AgentSpeech()
    _ = speech.open("a", attributes: Self.mono)
    _ = speech.take(pulses([1]), chunk: 0, of: "a")
    speech.clear()
    #expect(speech.take(pulses([2]), chunk: 1, of: "a") == [])
    #expect(speech.close("a") == [])
    _ = speech.open("b", attributes: Self.mono)
    #expect(speech.take(pulses([3]), chunk: 0, of: "b") == [.speak(sound([3]))])
  }

  @Test(arguments: [
    ["num_channels": "1"], ["sample_rate": "24000"], ["sample_rate": "24k", "num_channels": "1"],
    ["sample_rate": "7999", "num_channels": "1"], ["sample_rate": "96000", "num_channels": "1"],
    ["sample_rate": "24000", "num_channels": "0"], ["sample_rate": "24000", "num_channels": "9"],
    ["sample_rate": "24000", "num_channels": "-1"], [:],
  ])
  func `a segment in a format that there is not is refused, and nothing of it is spoken`(_ attributes: [String: String])
  {
    var speech = AgentSpeech()
    guard case .refuse? = speech.open("a", attributes: attributes).first else {
      return #expect(Bool(false), "\(attributes) is taken")
    }
    #expect(speech.take(pulses([1]), chunk: 0, of: "a") == [])
    #expect(speech.close("a") == [])
  }

  @Test func `more than can wait is refused`() {
    var speech = AgentSpeech()
    _ = speech.open("a", attributes: Self.mono)
    _ = speech.open("b", attributes: Self.mono)
    let piece = [UInt8](repeating: 1, count: 16 << 20)
    #expect(speech.take(piece, chunk: 0, of: "b") == [])
    #expect(speech.take(piece, chunk: 1, of: "b") == [])
    guard case .refuse? = speech.take([1], chunk: 2, of: "b").first else { return #expect(Bool(false)) }
    #expect(speech.close("b") == [])
    for number in 1..<16 { #expect(speech.open("c\(number)", attributes: Self.mono) == []) }
    guard case .refuse? = speech.open("one more", attributes: Self.mono).first else { return #expect(Bool(false)) }
  }
}
