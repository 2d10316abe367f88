/// A colour: red, green and blue in 0…1.
package struct Paint: Codable, Sendable, Equatable {
  package var red: Double
  package var green: Double
  package var blue: Double

  package init(_ red: Double, _ green: Double, _ blue: Double) {
    (self.red, self.green, self.blue) = (red, green, blue)
  }

  /// From 0xRRGGBB.
  package init(_ hex: Int) {
    self.init(Double(hex >> 16 & 255) / 255, Double(hex >> 8 & 255) / 255, Double(hex & 255) / 255)
  }

  /// `share` of the way to another colour.
  package func mixed(_ other: Paint, _ share: Double) -> Paint {
    Paint(
      red + (other.red - red) * share, green + (other.green - green) * share, blue + (other.blue - blue) * share)
  }

  package func darker(_ share: Double) -> Paint { mixed(Paint(0x1A1018), share) }
  package func lighter(_ share: Double) -> Paint { mixed(Paint(0xFFFFFF), share) }

  /// How bright it looks, 0…1.
  package var lightness: Double { 0.299 * red + 0.587 * green + 0.114 * blue }

  /// To three digits, as truth files hold it.
  var rounded: Paint { Paint(red.rounded(3), green.rounded(3), blue.rounded(3)) }
}

extension Double {
  /// Rounded to so many decimals.
  func rounded(_ decimals: Int) -> Double {
    let scale = [1.0, 10, 100, 1e3, 1e4, 1e5, 1e6][min(max(decimals, 0), 6)]
    return (self * scale).rounded() / scale
  }
}

/// 0 at `start` and before, 1 at `end` and after, with no edge between (a quintic).
func smooth(_ value: Double, _ start: Double, _ end: Double) -> Double {
  guard end > start else { return value < start ? 0 : 1 }
  let x = min(max((value - start) / (end - start), 0), 1)
  return x * x * x * (x * (x * 6 - 15) + 10)
}
