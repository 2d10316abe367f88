/// What a face shows besides speech.
package enum FacialExpression: String, Codable, Sendable, CaseIterable {
  case neutral, smile, sad, surprised, angry, thoughtful

  /// As captions say it.
  package var phrase: String {
    switch self {
    case .neutral: "with a calm face"
    case .smile: "smiling"
    case .sad: "looking sad"
    case .surprised: "looking surprised"
    case .angry: "looking angry"
    case .thoughtful: "looking thoughtful"
    }
  }

  package var shape: ExpressionShape {
    switch self {
    case .neutral: ExpressionShape()
    case .smile: ExpressionShape(browRaise: 0.2, lids: 0.92, cheeks: 0.8, smile: 1)
    case .sad: ExpressionShape(browRaise: 0.15, browTilt: 0.9, lids: 0.84, smile: -0.85)
    case .surprised: ExpressionShape(browRaise: 1, lids: 1.32, smile: 0.05)
    case .angry: ExpressionShape(browRaise: -0.55, browTilt: -1, lids: 0.84, cheeks: 0.2, smile: -0.5)
    case .thoughtful: ExpressionShape(browRaise: 0.35, browTilt: 0.35, lids: 0.86, smile: -0.2)
    }
  }
}

/// What an expression does to the face; all zero (lids one) at rest.
package struct ExpressionShape: Codable, Sendable, Equatable {
  /// Brows up, −1…1.
  package var browRaise = 0.0
  /// Inner ends of the brows up (worried) or down (angry), −1…1.
  package var browTilt = 0.0
  /// How far the eyes are open, 1 at rest.
  package var lids = 1.0
  /// Lower lids pushed up, 0…1.
  package var cheeks = 0.0
  /// Corners of the mouth up or down, −1…1.
  package var smile = 0.0

  package func mixed(_ other: ExpressionShape, _ share: Double) -> ExpressionShape {
    func mix(_ a: Double, _ b: Double) -> Double { a + (b - a) * share }
    return ExpressionShape(
      browRaise: mix(browRaise, other.browRaise), browTilt: mix(browTilt, other.browTilt), lids: mix(lids, other.lids),
      cheeks: mix(cheeks, other.cheeks), smile: mix(smile, other.smile))
  }
}
