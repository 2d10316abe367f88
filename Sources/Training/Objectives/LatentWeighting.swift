/// Loss weights of latent elements.
package struct LatentWeighting: CheckedSettings {
  package var regions = FaceRegionSettings()
  /// Whether channels are weighted by the divisor of their normalisation, so that errors count as in the autoencoder's own units.
  package var byDeviation = false

  package init() {}

  /// The bundled model's: with uniform weights its mouth does not move (see docs/decisions/0012-bundled-model.md).
  package static let faces: LatentWeighting = {
    var weighting = LatentWeighting()
    weighting.regions = FaceRegionSettings(mouth: 16, eyes: 4)
    weighting.byDeviation = true
    return weighting
  }()

  package func check(_ check: inout ConfigurationCheck) { check.settings("regions", regions) }
}
