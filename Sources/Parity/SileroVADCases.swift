import Basics
import Foundation
import Models
import Torch

/// Goldens of the voice activity detector: the probability of every window of a sound, and the state that the last one leaves.
enum SileroVADCases {
  static func run(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let file = golden.directory.appendingPathComponent(try golden.config["weights"].string()).standardized
    let model = try SileroVAD(weights: readWeights(file), name: file.lastPathComponent, device: golden.device)
    guard let samples = try golden.inputs()["samples"]?.array(Float.self).map({ $0 / 32_768 }) else {
      throw LiveTalkError("the case has no input 'samples'")
    }
    let outputs = try golden.outputs()
    var stream = SileroVADStream(model)
    try recorder.compare(
      "probability", Tensor(stream.append(samples)), outputs["probability"]?.to(.cpu), golden.tolerance())
    for (name, state) in stream.stateTensors {
      try recorder.compare(name, state, outputs[name], golden.tolerance())
    }
  }
}
