import Generation
import Training

/// The memory of distillation, by arithmetic: what `bench training --dry-run` prints.
struct TrainingMemoryReport: Codable {
  var name: String
  var height: Int
  var width: Int
  var dtype: String
  var latentFrames: Int
  var textTokens: Int
  var activations: ActivationPlan
  var processes: [MemoryReport.Process]

  init(
    _ name: String, _ size: ReferencePicture.Size, _ model: DistilledTransformer, _ settings: DMDConfiguration,
    textTokens: Int, ranks: Int
  ) {
    func estimate(_ settings: DMDConfiguration, _ ranks: Int) -> MemoryEstimate {
      MemoryEstimate(distilling: model, settings, textRows: textTokens, ranks: ranks)
    }
    (self.name, height, width, self.textTokens) = (name, size.height, size.width, textTokens)
    (dtype, latentFrames) = (settings.run.precision.dtype.shortName, settings.run.latentFrames)
    activations = ActivationPlan(checkpointsLayers: settings.run.checkpointLayers, isBlockwise: settings.blockwise)
    processes = [.init(name: "one process", estimate: estimate(settings, 1))]
    guard ranks > 1 else { return }
    processes.append(.init(name: "each of \(ranks)", estimate: estimate(settings, ranks)))
    // What ranks share out is what is frozen, and a layer is gathered for its backward pass too.
    guard settings.lowRank != nil, settings.run.checkpointLayers else { return }
    var sharded = settings
    sharded.run.shardWeights = true
    processes.append(.init(name: "with run.shardWeights", estimate: estimate(sharded, ranks)))
  }

  /// The figures for people.
  var table: String {
    MemoryReport.table(
      "distillation of \(name), \(height)×\(width), \(dtype), \(latentFrames) latent frames, one clip at a time, "
        + "activations \(activations.rawValue): memory by arithmetic", processes)
  }
}
