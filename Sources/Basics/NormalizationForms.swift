import Foundation

/// Unicode's normalization forms.
///
/// Decomposition is Foundation's. Composition is done here: in Swift 6.3 on Linux the standard one composes some
/// sequences that it must not, and leaves others apart (Hangul letters next to the composing ranges, marks after
/// ideographs beyond U+20000, a third Hangul letter after a composed syllable).
package enum NormalizationForm: String, Sendable {
  case c = "NFC"
  case d = "NFD"
  case kc = "NFKC"
  case kd = "NFKD"

  package func apply(to text: String) -> String {
    switch self {
    case .c: Composition.compose(Self.d.apply(to: text))
    case .d: text.decomposedStringWithCanonicalMapping
    case .kc: Composition.compose(Self.kd.apply(to: text))
    // The second decomposition puts marks in order where the first leaves them as they came.
    case .kd: text.decomposedStringWithCompatibilityMapping.decomposedStringWithCanonicalMapping
    }
  }
}

/// Canonical composition.
private enum Composition {
  private struct Pair: Hashable {
    var first: UInt32
    var second: UInt32
  }

  /// - Parameter text: fully decomposed, marks in order.
  static func compose(_ text: String) -> String {
    var result: [UInt32] = []
    var starter: Int?
    var lastClass: UInt8 = 0
    for scalar in text.unicodeScalars {
      let combiningClass = scalar.properties.canonicalCombiningClass.rawValue
      if let starter {
        // A mark of the same class between the two, or anything where no mark follows, keeps them apart.
        let isAdjacent = starter == result.count - 1
        if isAdjacent || (lastClass != 0 && lastClass < combiningClass),
          let composite = composite(result[starter], scalar.value)
        {
          result[starter] = composite
          continue
        }
      }
      if combiningClass == 0 { starter = result.count }
      lastClass = combiningClass
      result.append(scalar.value)
    }
    return String(scalarValues: result)
  }

  private static func composite(_ first: UInt32, _ second: UInt32) -> UInt32? {
    switch (first, second) {
    case (0x1100...0x1112, 0x1161...0x1175): 0xAC00 + ((first - 0x1100) * 21 + (second - 0x1161)) * 28
    case (0xAC00...0xD7A3, 0x11A8...0x11C2) where (first - 0xAC00) % 28 == 0: first + (second - 0x11A7)
    default: composites[Pair(first: first, second: second)]
    }
  }

  /// All composites but Hangul syllables, by what they are composed of: the composite of all but the last scalar of the
  /// decomposition, and the last.
  private static let composites: [Pair: UInt32] = {
    let decomposed = ScalarSet.values(in: compositeScalars).map { composite in
      (composite, String(scalarValues: [composite]).decomposedStringWithCanonicalMapping.scalarValues)
    }
    let wholes = Dictionary(decomposed.map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
    var result: [Pair: UInt32] = [:]
    for (composite, parts) in decomposed {
      guard let last = parts.last, let first = parts.count == 2 ? parts[0] : wholes[parts.dropLast()] else { continue }
      result[Pair(first: first, second: last)] = composite
    }
    return result
  }()

  /// The scalars with a canonical decomposition that composition makes again (Unicode 14, as in Python 3.11).
  private static let compositeScalars = """
    C0-C5 C7-CF D1-D6 D9-DD E0-E5 E7-EF F1-F6 F9-FD FF-10F 112-125 128-130 134-137 139-13E 143-148 14C-151 154-165
    168-17E 1A0-1A1 1AF-1B0 1CD-1DC 1DE-1E3 1E6-1F0 1F4-1F5 1F8-21B 21E-21F 226-233 385-386 388-38A 38C 38E-390
    3AA-3B0 3CA-3CE 3D3-3D4 400-401 403 407 40C-40E 419 439 450-451 453 457 45C-45E 476-477 4C1-4C2 4D0-4D3 4D6-4D7
    4DA-4DF 4E2-4E7 4EA-4F5 4F8-4F9 622-626 6C0 6C2 6D3 929 931 934 9CB-9CC B48 B4B-B4C B94 BCA-BCC C48 CC0 CC7-CC8
    CCA-CCB D4A-D4C DDA DDC-DDE 1026 1B06 1B08 1B0A 1B0C 1B0E 1B12 1B3B 1B3D 1B40-1B41 1B43 1E00-1E99 1E9B 1EA0-1EF9
    1F00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F70 1F72 1F74 1F76 1F78 1F7A 1F7C 1F80-1FB4
    1FB6-1FBA 1FBC 1FC1-1FC4 1FC6-1FC8 1FCA 1FCC-1FD2 1FD6-1FDA 1FDD-1FE2 1FE4-1FEA 1FEC-1FED 1FF2-1FF4 1FF6-1FF8 1FFA
    1FFC 219A-219B 21AE 21CD-21CF 2204 2209 220C 2224 2226 2241 2244 2247 2249 2260 2262 226D-2271 2274-2275 2278-2279
    2280-2281 2284-2285 2288-2289 22AC-22AF 22E0-22E3 22EA-22ED 304C 304E 3050 3052 3054 3056 3058 305A 305C 305E 3060
    3062 3065 3067 3069 3070-3071 3073-3074 3076-3077 3079-307A 307C-307D 3094 309E 30AC 30AE 30B0 30B2 30B4 30B6 30B8
    30BA 30BC 30BE 30C0 30C2 30C5 30C7 30C9 30D0-30D1 30D3-30D4 30D6-30D7 30D9-30DA 30DC-30DD 30F4 30F7-30FA 30FE
    1109A 1109C 110AB 1112E-1112F 1134B-1134C 114BB-114BC 114BE 115BA-115BB 11938
    """
}
