import Basics
import Generation
import Models
import Torch

/// Goldens of the noise schedules: tables, conversions, draws of score timesteps.
enum ScheduleCases {
  static func run(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    if golden.config["timestep_sets"].exists {
      try conversions(golden, recorder)
    } else if golden.config["timestep_shift"].exists {
      try draws(golden, recorder)
    } else {
      try tables(golden, recorder)
    }
  }

  private static func schedule(_ json: JSON, device: Device) throws -> FlowMatchingSchedule {
    let steps = json["num_inference_steps"].exists ? json["num_inference_steps"] : json["num_train_timesteps"]
    return FlowMatchingSchedule(
      shift: try json["shift"].double(), steps: try steps.int(), sigmaMin: try json["sigma_min"].double(),
      extraOneStep: try json["extra_one_step"].bool(), device: device)
  }

  private static func tables(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let outputs = try golden.outputs()
    let tolerance = try golden.tolerance()
    let timestepTolerance = Tolerance(rtol: tolerance.rtol, atol: 1e-4)
    let inference = try schedule(golden.config["inference"], device: golden.device)
    try recorder.compare("inference.sigmas", inference.sigmas, outputs["inference.sigmas"], tolerance)
    try recorder.compare("inference.timesteps", inference.timesteps, outputs["inference.timesteps"], timestepTolerance)
    for name in golden.config["training"].keys {
      let training = try schedule(golden.config["training"][name], device: golden.device)
      try recorder.compare("\(name).sigmas", training.sigmas, outputs["\(name).sigmas"], tolerance)
      try recorder.compare("\(name).timesteps", training.timesteps, outputs["\(name).timesteps"], timestepTolerance)
      let weights = "\(name).linear_timesteps_weights"
      try recorder.compare(weights, training.trainingWeights, outputs[weights], tolerance)
    }
    // The list of an unwarped run is whole numbers; one of 4 steps at 1000 - t of the large table is the warped list again.
    let listed = try golden.config["denoising_step_list"].ints()
    let unwarped = Tensor(listed, device: golden.device)
    try recorder.compare("unwarped", unwarped, outputs["unwarped"], .exact)
    let shift = try golden.config["inference"]["shift"].double()
    let trainings = golden.config["training"].keys.map { golden.config["training"][$0] }
    guard let sameShift = try trainings.first(where: { try $0["shift"].double() == shift }) else {
      throw LiveTalkError("no training table has the shift of the inference table")
    }
    let large = try schedule(sameShift, device: golden.device)
    let byIndex = large.timesteps.indexSelect(0, Tensor(listed.map { 1000 - $0 }, device: golden.device))
    try recorder.compare("warped_by_index", byIndex, outputs["warped_by_index"], timestepTolerance)
    let width = try golden.config["freq_dim"].int()
    for (name, dtype) in [("fp32", DType.float32), ("bf16", .bfloat16)] {
      let steps = inference.steps(dtype)
      let list = Tensor.cat(steps.map { $0.timestep.flatten() }, 0)
      let timesteps = dtype == .float32 ? timestepTolerance : .exact
      try recorder.compare("warped.\(name)", list, outputs["warped.\(name)"], timesteps)
      let perFrame = list.unsqueeze(1).expand(steps.count, LatentGeometry.livetalk.framesPerBlock)
      try recorder.compare("model_timesteps.\(name)", perFrame, outputs["model_timesteps.\(name)"], timesteps)
      let embedding = sinusoidalEmbedding(list, width: width)
      try recorder.compare(
        "embedding.\(name)", embedding, outputs["embedding.\(name)"], dtype == .float32 ? tolerance : .exact)
    }
    let perFrame = unwarped.unsqueeze(1).expand(listed.count, LatentGeometry.livetalk.framesPerBlock)
    try recorder.compare("model_timesteps.unwarped", perFrame, outputs["model_timesteps.unwarped"], .exact)
    let truncated = sinusoidalEmbedding(unwarped, width: width)
    try recorder.compare("embedding.int64", truncated, outputs["embedding.int64"], .exact)
    let zero = sinusoidalEmbedding(Tensor.zeros([1], device: golden.device), width: width)
    try recorder.compare("embedding.zero", zero, outputs["embedding.zero"], tolerance)
  }

  private static func conversions(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let (inputs, outputs, tolerance) = (try golden.inputs(), try golden.outputs(), try golden.tolerance())
    guard let x0 = inputs["x0"], let noise = inputs["noise"], let flow = inputs["flow"] else {
      throw LiveTalkError("the case lacks an input")
    }
    let inference = try schedule(golden.config["inference"], device: golden.device)
    let training = try schedule(golden.config["training"], device: golden.device)
    let noisable = Set(try golden.config["inference_add_noise_ok"].list.map { try $0.string() })
    for set in try golden.config["timestep_sets"].list.map({ try $0.string() }) {
      guard let t = inputs["t.\(set)"] else { throw LiveTalkError("the case has no timesteps '\(set)'") }
      for (kind, schedule) in [("inference", inference), ("training", training)] {
        var results = [
          "flow_to_x0": schedule.x0(flow: flow, xt: noise, timesteps: t),
          "x0_to_flow": schedule.flow(x0: x0, xt: noise, timesteps: t),
          "weight": schedule.weights(of: t),
          "step": schedule.step(flow: flow, xt: noise, timesteps: t),
        ]
        // The reference's inference scheduler finds one level, that of the first frame, for all of them.
        let levels = kind == "inference" ? t.narrow(0, 0, 1).expand(t.shape) : t
        if kind == "training" || noisable.contains(set) {
          results["add_noise"] = schedule.addNoise(x0, noise, timesteps: levels)
        }
        for (name, result) in results.sorted(by: { $0.key < $1.key }) {
          if let expected = outputs["\(set).\(kind).\(name)"] {
            try recorder.compare("\(set).\(kind).\(name)", result, expected, tolerance)
          }
        }
        let half = [x0, noise, flow].map { $0.to(.bfloat16) }
        if let expected = outputs["\(set).bf16.\(kind).add_noise"] {
          let result = schedule.addNoise(half[0], half[1], timesteps: levels)
          try recorder.compare("\(set).bf16.\(kind).add_noise", result, expected, .exact)
        }
        if let expected = outputs["\(set).bf16.\(kind).flow_to_x0"] {
          let result = schedule.x0(flow: half[2], xt: half[1], timesteps: t)
          try recorder.compare("\(set).bf16.\(kind).flow_to_x0", result, expected, .exact)
        }
      }
    }
    var sample = noise
    for index in 0..<inference.count {
      let t = inference.timesteps.narrow(0, index, 1).expand(noise.size(0))
      sample = inference.step(flow: flow, xt: sample, timesteps: t)
      try recorder.compare("inference.step\(index)", sample, outputs["inference.step\(index)"], tolerance)
    }
  }

  private static func draws(_ golden: ParityCase, _ recorder: ParityRecorder) throws {
    let (inputs, outputs, tolerance) = (try golden.inputs(), try golden.outputs(), try golden.tolerance())
    let training = try schedule(golden.config["training"], device: golden.device)
    let range = try golden.config["min_step"].double()...golden.config["max_step"].double()
    for set in try golden.config["sets"].list.map({ try $0.string() }) {
      guard let base = inputs["base.\(set)"] else { throw LiveTalkError("the case has no timesteps '\(set)'") }
      let shifted = FlowMatchingSchedule.shiftedTimesteps(
        base, shift: try golden.config["timestep_shift"].double(), clampedTo: range)
      try recorder.compare("shifted.\(set)", shifted, outputs["shifted.\(set)"], tolerance)
      let sigma = training.sigmas.indexSelect(0, training.indices(of: shifted)).reshape(base.shape)
      try recorder.compare("sigma.\(set)", sigma, outputs["sigma.\(set)"], tolerance)
    }
  }
}
