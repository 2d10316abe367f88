/// How the elements of latents count in a loss of the transformers.
package struct LatentWeighting: CheckedSettings {
  package var regions = FaceRegionSettings()
  /// Whether a channel counts by what it was divided by when it was normalised: those that hold most of the picture more.
  package var byDeviation = false

  package init() {}

  /// What the bundled model needs: with an even loss its mouth does not move (see docs/decisions/0012-bundled-model.md).
  package static let faces: LatentWeighting = {
    var weighting = LatentWeighting()
    weighting.regions = FaceRegionSettings(mouth: 16, eyes: 4)
    weighting.byDeviation = true
    return weighting
  }()

  package func check(_ check: inout ConfigurationCheck) { check.settings("regions", regions) }
}
