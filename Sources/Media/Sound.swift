/// Mono sound: Float32 samples, nominally in −1…1.
package struct Sound: Sendable, Equatable {
  package var samples: [Float]
  /// Samples per second.
  package let sampleRate: Int

  package init(samples: [Float], sampleRate: Int) {
    precondition(sampleRate > 0, "a sample rate is positive")
    self.samples = samples
    self.sampleRate = sampleRate
  }

  package var seconds: Double { Double(samples.count) / Double(sampleRate) }
}
