package import Basics

extension Picture {
  /// The longest side that is read.
  package static let maximumSide = 16_384
  /// The most pixels that are read.
  package static let maximumPixels = 100_000_000

  package var hasOneColour: Bool { haveOneColour(bytes) }
}
