import Foundation

/// Unicode's normalization forms.
enum NormalizationForm: String, Sendable {
  case c = "NFC"
  case d = "NFD"
  case kc = "NFKC"
  case kd = "NFKD"

  func apply(to text: String) -> String {
    switch self {
    // Composition starts from the decomposed text: Foundation on Linux leaves a Hangul syllable of two letters and a
    // third letter apart where the syllable was composed before.
    case .c: text.decomposedStringWithCanonicalMapping.precomposedStringWithCanonicalMapping
    case .d: text.decomposedStringWithCanonicalMapping
    case .kc: text.decomposedStringWithCompatibilityMapping.precomposedStringWithCanonicalMapping
    case .kd: text.decomposedStringWithCompatibilityMapping
    }
  }
}
