import Basics
import Generation
import Torch

/// Goldens of the sampler: tables of any number of steps, walks along given answers, the table of training.
enum S2VSamplerCases {
  static func run(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let (inputs, outputs, tolerance) = (try golden.inputs(), try golden.outputs(), try golden.tolerance())
    func stated(_ name: String) throws -> Tolerance {
      Tolerance(rtol: 0, atol: try golden.json["tolerance"][name].double())
    }
    let steps = try golden.json["call"]["steps_walked"].int()
    let schedule = FlowMatchingSchedule.liveAvatar(steps: steps)
    let levels = schedule.steps(.float32).map(\.sigma) + [0]
    let training = FlowMatchingSchedule.training(shift: 5)
    for (name, expected) in outputs.sorted(by: { $0.key < $1.key }) {
      let parts = name.split(separator: ".").map(String.init)
      switch (parts[0], parts.count > 1 ? parts[1] : "") {
      case ("sigmas", let count):
        guard let count = Int(count) else { throw LiveTalkError("nothing computes the output '\(name)'") }
        let table = FlowMatchingSchedule.liveAvatar(steps: count)
        try recorder.compare(name, Tensor.cat([table.sigmas, .zeros([1])], 0), expected, tolerance)
      case ("timesteps", let count):
        guard let count = Int(count) else { throw LiveTalkError("nothing computes the output '\(name)'") }
        try recorder.compare(
          name, FlowMatchingSchedule.liveAvatar(steps: count).timesteps, expected, stated("timesteps"))
      case ("training", "sigmas"): try recorder.compare(name, training.sigmas, expected, stated("training"))
      case ("training", "timesteps"):
        try recorder.compare(name, training.timesteps, expected, stated("training"))
      case ("training", "weights"): try recorder.compare(name, training.trainingWeights, expected, stated("training"))
      case ("walk", let type):
        let dtype: DType = type == "bf16" ? .bfloat16 : .float32
        var x = try LiveAvatarCases.input(inputs, "sample").to(dtype)
        let answers = try LiveAvatarCases.input(inputs, "velocity").to(dtype)
        let walk = (0..<steps).map { step in
          x = FlowMatchingSchedule.eulerStep(x, answers.select(0, step), from: levels[step], to: levels[step + 1])
          return x
        }
        try recorder.compare(
          name, Tensor.stack(walk, 0), expected, dtype == .bfloat16 ? stated("walk.bf16") : tolerance)
      case ("stage", _):
        // What the third stage of a pipeline does.
        let (sample, answer) = (
          try LiveAvatarCases.input(inputs, "sample"), try LiveAvatarCases.input(inputs, "velocity").select(0, 0)
        )
        try recorder.compare(
          name, FlowMatchingSchedule.eulerStep(sample, answer, from: levels[2], to: levels[3]), expected, tolerance)
      default: throw LiveTalkError("nothing computes the output '\(name)'")
      }
    }
  }
}
