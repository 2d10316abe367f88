package import Session

/// Opens a live session over the mock engine, with somebody who answers every text by humming it.
package func openMockSession(_ engine: MockEngine, _ request: AvatarRequest) throws -> LiveSession {
  LiveSession(
    engine: try engine.open(request), information: engine.information,
    parts: LiveParts(responder: HummingResponder(), voice: HummingVoice()))
}

/// Answers a text with itself.
package struct HummingResponder: Responder {
  package init() {}

  package var hears: Bool { true }

  package func respond(to request: ResponseRequest) -> AsyncThrowingStream<SpeechEvent, any Error> {
    HummingVoice().speech(of: request.text ?? "Mm.")
  }
}

/// A voice that hums a tenth of a second for every letter.
package struct HummingVoice: Voice {
  private static let rate = 16_000

  package init() {}

  package func speech(of text: String) -> AsyncThrowingStream<SpeechEvent, any Error> {
    AsyncThrowingStream { continuation in
      continuation.yield(.text(text, at: 0))
      let count = max(1, min(text.count, 100)) * Self.rate / 10
      continuation.yield(.sound(PCM((0..<count).map(Self.sample), rate: Self.rate)))
      continuation.yield(.done)
      continuation.finish()
    }
  }

  /// A triangle wave of 143 Hz that swells four times a second.
  private static func sample(_ index: Int) -> Float {
    func triangle(_ period: Int) -> Float { abs(Float(index % period) / Float(period) * 4 - 2) - 1 }
    return 0.3 * triangle(112) * (0.6 + 0.4 * triangle(4_000))
  }
}
